import { basename } from 'node:path';
import { type Command, Option } from 'commander';
import {
  type AttributionGraph,
  buildGraph,
  graphScores,
  pruneGraph,
  type RootSpec,
  rootId,
  type View,
} from '../../attribution';
import { type Engine, type PromptRun } from '../../engine';
import { UsageError } from '../../errors';
import { type GraphFile, graphViolations, importGraphFile, toGraphFile } from '../../interop';
import { type CommonOptions, type Context, withPrompt, withRun } from '../common';
import { Progress, writeJson, writeText } from '../output';
import { parseRoot, realNumber, wholeNumber } from '../parse';
import { percent, signed, table } from '../../text';
import { version } from '../version';

interface GraphCommandOptions extends CommonOptions {
  root?: string;
  import?: string;
  nodeThreshold: string;
  edgeThreshold: string;
  maxNodes: string;
  view: View;
  featureType: 'lorsa' | 'clt';
}

interface GraphSettings {
  nodeThreshold: number;
  edgeThreshold: number;
  maxNodes: number;
  view: View;
  attentionType: 'lorsa' | 'cross layer transcoder';
}

async function probabilityOf(run: PromptRun, spec: RootSpec): Promise<number | null> {
  if (spec.type === 'feature' || spec.tokens.length > 1) return null;
  const { logits } = await run.logitsAt(spec.position);
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  return Math.exp(logits[spec.tokens[0]] - max) / logits.reduce((s, l) => s + Math.exp(l - max), 0);
}

async function describe(
  engine: Engine,
  run: PromptRun,
  spec: RootSpec,
  s: GraphSettings,
  g: AttributionGraph,
): Promise<GraphFile> {
  const probability = await probabilityOf(run, spec);
  const weight = probability ?? 1;
  const text = (id: number): string => run.vocabularyText(id) ?? String(id);
  const { n_layers, d_vocab, modelName } = engine.model.config;
  const weights: Record<string, string> = { model: engine.model.weights.cached.sha256 };
  for (const d of engine.dictionaries.values()) weights[d.site] = d.cached.sha256;
  const file = toGraphFile(pruneGraph(g, weight, s.nodeThreshold, s.edgeThreshold), {
    slug: rootId(spec).replace(/[^A-Za-z0-9_-]+/g, '-'),
    scan: basename(modelName),
    prompt: run.trace.tokens.map(text).join(run.vocabularyText(0) === null ? ' ' : ''),
    promptTokens: run.trace.tokens.map(text),
    n_layers,
    d_vocab,
    ...s,
    contract: engine.contract,
    scores: graphScores(g, weight),
    rootProbability: probability,
    text,
    weights,
    cut: g.cut,
    version,
  });
  const [broken] = graphViolations(file);
  if (broken !== undefined) throw new Error(`the graph breaks the rules of its schema: ${broken}`);
  return file;
}

/** The object that `graph --root` prints. */
export async function graphJson(
  engine: Engine,
  run: PromptRun,
  spec: RootSpec,
  settings: GraphSettings,
  signal?: AbortSignal,
): Promise<GraphFile> {
  const progress = new Progress('graph');
  const g = await buildGraph(run, spec, {
    view: settings.view,
    maxNodes: settings.maxNodes,
    signal,
    onProgress: (opened, found) => progress.update(opened, found),
  }).finally(() => progress.end());
  return describe(engine, run, spec, settings, g);
}

function human(g: GraphFile): string {
  const score = (key: string): string => (typeof g.metadata[key] === 'number' ? percent(g.metadata[key]) : '–');
  const strongest = [...g.links].sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, 20);
  return [
    `${g.nodes.length} nodes, ${g.links.length} links; replacement score ${score('replacement_score')}, completeness ${score('completeness_score')}`,
    'strongest links:',
    ...table(strongest.map((l) => [`  ${l.source}`, '→', l.target, signed(l.weight)])),
    'print the whole graph with --json',
  ].join('\n');
}

function fraction(option: string, text: string): number {
  const n = realNumber(option, text);
  if (n <= 0 || n > 1) throw new UsageError(`${option}: expected a number above 0 and at most 1, got ${text}`);
  return n;
}

/** `graph`: the pruned attribution graph below a root, or a graph file of another tool as schema 1. */
export function addGraph(program: Command, context: Context): void {
  const command = withPrompt(program.command('graph'))
    .description(
      'the pruned attribution graph below a root, as attribution-graph JSON; or another tool’s graph, converted',
    )
    .option('--root <root>', 'SITE/INDEX@P, logit:TOKEN@P or logitdiff:TOKEN|TOKEN@P')
    .option('--import <file>', 'read a graph file (four dialects, plain or gzip) instead')
    .option('--node-threshold <share>', 'share of influence that kept nodes cover', '0.8')
    .option('--edge-threshold <share>', 'share of influence that kept links cover', '0.98')
    .option('--max-nodes <n>', 'features opened at most', '4096')
    .addOption(
      new Option('--view <view>', 'what the stream opens into').choices(['residual', 'component']).default('residual'),
    )
    .addOption(
      new Option('--feature-type <type>', 'how attention features are typed for viewers')
        .choices(['lorsa', 'clt'])
        .default('lorsa'),
    )
    .action(async (o: GraphCommandOptions) => {
      const print = (g: GraphFile): Promise<void> => (o.json ? writeJson(g) : writeText(human(g)));
      if (o.import !== undefined) return print(importGraphFile(o.import));
      if (o.root === undefined) throw new UsageError('give --root ROOT, or --import FILE');
      if (o.model === undefined) throw new UsageError('give --model DIR');
      const root = o.root;
      const settings: GraphSettings = {
        nodeThreshold: fraction('--node-threshold', o.nodeThreshold),
        edgeThreshold: fraction('--edge-threshold', o.edgeThreshold),
        maxNodes: wholeNumber('--max-nodes', o.maxNodes),
        view: o.view,
        attentionType: o.featureType === 'clt' ? 'cross layer transcoder' : 'lorsa',
      };
      return withRun(context, o, async (engine, run) =>
        print(await graphJson(engine, run, parseRoot(engine, root), settings, context.signal)),
      );
    });
  const model = command.options.find((x) => x.long === '--model');
  if (model) model.mandatory = false;
}
