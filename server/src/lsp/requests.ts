import { join } from 'node:path';
import {
  type AttentionResult,
  type ExperimentPrompts,
  type FeatureExample,
  type FeatureResult,
  type HeatResult,
  type PromptRef,
  type PromptResult,
  type RequestMethod,
  type Requests,
  type WirePrediction,
} from '../../protocol';
import {
  ablate,
  activationsOf,
  featureDetails,
  predict,
  type Prediction,
  residualLens,
  validateEdge,
} from '../analyses';
import { headBySource, makeRoot } from '../attribution';
import { checkCircuit, identityOf, parseCircuit } from '../circuits';
import { type Engine } from '../engine';
import { EngineError, UsageError } from '../errors';
import {
  type Case,
  casesOf,
  type Experiment,
  type ExperimentInfo,
  experimentOf,
  EXPERIMENTS,
  type ExperimentResult,
  ioiFile,
  ioiSentences,
  runExperiment,
} from '../experiments';
import { tableFor, verify } from '../golden';
import { type FilePrompt, parsePrompts } from '../prompts';
import { tabulate } from './batch';
import { relabelled } from './circuits';
import { CorpusHost } from './corpus';
import { wireTokens } from './documents';
import { GraphFiles } from './graphFiles';
import { wireFeatures } from './hover';
import { type Analysis, type ModelHost } from './modelHost';
import { changeNote, noteAnchor, notesOf } from './notes';
import { experimentScript, featureScript, treeScript } from './scripts';
import { runTool } from './tools';
import { expandNode, gridOf, type LabelOf, pack, sourcesOf, wireNode } from './trees';

/** What the handlers need of the open documents. */
export interface OpenPrompts {
  /** Prompts of a document as they are written in it, answers included. Throws UsageError when it is not open. */
  file(uri: string): FilePrompt[];
  /** Prompts of all open prompt files. */
  all(): { uri: string; prompt: PromptRef }[];
  /** Version of a document and the prompts in it, with the offset in it of an offset in their text. Throws UsageError when it is not open. */
  of(uri: string): { version: number; prompts: { prompt: PromptRef; placeOf: (at: number) => number }[] };
  /** The token at an offset of an open document, or null. */
  locate(uri: string, offset: number): Requests['attentionCircuits/locate']['result'];
}

/** Reports of a download at most a few times a second. */
function throttled(
  report: (message: string, fraction: number) => void,
): (done: number, total: number, path: string) => void {
  let last = 0;
  return (done, total, path) => {
    if (Date.now() - last < REPORT_MS && done < total) return;
    last = Date.now();
    report(`${path}: ${(done / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`, total > 0 ? done / total : 1);
  };
}

const REPORT_MS = 200;

type Handlers = {
  [M in RequestMethod]: (params: Requests[M]['params'], signal: AbortSignal) => Promise<Requests[M]['result']>;
};

const TOP = 5;
const MAX_EXAMPLES = 20;

export const wirePredictions = (top: Prediction['top']): WirePrediction[] =>
  top.map((t) => ({ ...t, text: t.text ?? String(t.id) }));

async function promptResult(a: Analysis, signal: AbortSignal): Promise<PromptResult> {
  const { predictions } = await predict(a.engine, a.run.trace, TOP, false, signal);
  return { tokens: wireTokens(a.engine, a.prompt), predictions: predictions.map((p) => wirePredictions(p.top)) };
}

/** Activations of a feature in one prompt; null for prompts that cannot be analysed. */
async function firing(
  host: ModelHost,
  p: PromptRef,
  site: string,
  index: number,
  signal: AbortSignal,
): Promise<{ a: Analysis; activations: number[] } | null> {
  try {
    const a = await host.analyse(p, 'batch', signal);
    return { a, activations: await activationsOf(a.run, site, index) };
  } catch (e) {
    if (e instanceof EngineError && !signal.aborted) return null;
    throw e;
  }
}

async function examplesOf(
  host: ModelHost,
  open: OpenPrompts,
  site: string,
  index: number,
  signal: AbortSignal,
): Promise<Pick<FeatureResult, 'examples' | 'searched'>> {
  const examples: FeatureExample[] = [];
  const prompts = open.all().slice(0, 200);
  const title = `Where ${site}/${index} fires`;
  await host.eachWithProgress(title, prompts, signal, async ({ uri, prompt: p }, both) => {
    const found = await firing(host, p, site, index, both);
    const strongest = Math.max(0, ...(found?.activations ?? []));
    if (!found || strongest <= 0) return;
    const { a, activations } = found;
    examples.push({
      uri,
      prompt: p,
      tokens: wireTokens(a.engine, a.prompt),
      activations,
      position: activations.indexOf(strongest),
    });
  });
  examples.sort((x, y) => y.activations[y.position] - x.activations[x.position]);
  return { examples: examples.slice(0, MAX_EXAMPLES), searched: prompts.length };
}

async function attention(a: Analysis, layer: number, head: number, destination: number): Promise<AttentionResult> {
  const { n_layers, n_heads } = a.engine.model.config;
  const S = a.prompt.tokens.length;
  if (layer >= n_layers || head >= n_heads) {
    throw new UsageError(`head ${layer}.${head} does not exist: the model has ${n_layers} layers of ${n_heads} heads`);
  }
  if (destination >= S) throw new UsageError(`position ${destination} is outside the prompt (0 to ${S - 1})`);
  const { pattern } = a.run.trace.layers[layer];
  const rows = Array.from({ length: S }, (_, d) => pattern.subarray((head * S + d) * S, (head * S + d + 1) * S));
  const [strongest] = (await wireFeatures(a, destination, 1)).filter(
    (f) => f.layer === layer && f.kind === 'attention',
  );
  let dfa: AttentionResult['strongest'] = null;
  if (strongest) {
    const acts = await a.run.acts(strongest.site);
    const direction = a.engine.dictionary(strongest.site).readDirection(strongest.feature, acts.norms[destination]);
    const contributions = pack(headBySource(a.run, layer, destination, direction));
    dfa = { feature: strongest.feature, activation: strongest.activation, contributions };
  }
  return { tokens: wireTokens(a.engine, a.prompt), pattern: pack(rows), strongest: dfa };
}

async function heat(
  host: ModelHost,
  open: OpenPrompts,
  uri: string,
  site: string,
  index: number,
  signal: AbortSignal,
): Promise<HeatResult> {
  (await host.engine()).dictionary(site).checkFeature(index);
  const { version, prompts } = open.of(uri);
  const tokens: HeatResult['tokens'] = [];
  let max = 0;
  await host.eachWithProgress(`Tokens of ${site}/${index}`, prompts, signal, async ({ prompt: p, placeOf }, both) => {
    const found = await firing(host, p, site, index, both);
    found?.activations.forEach((activation, i) => {
      const range = found.a.prompt.ranges[i];
      if (activation <= 0 || !range) return;
      max = Math.max(max, activation);
      tokens.push({ start: placeOf(range.start), end: placeOf(range.end), activation });
    });
  });
  return { version, max, tokens };
}

/** An experiment without its code. */
const infoOf = ({ id, title, description, needs, parameters }: Experiment): ExperimentInfo => ({
  id,
  title,
  description,
  needs,
  parameters,
});

/** Prompts of an experiment. */
function casesFor(engine: Engine, open: OpenPrompts, from: ExperimentPrompts): Case[] {
  if (from.from === 'document') return casesOf(engine, open.file(from.uri));
  if (from.from === 'generated') {
    return casesOf(engine, parsePrompts(ioiFile(ioiSentences(engine, from.count, from.seed), from.seed)).prompts);
  }
  if (from.from === 'none') return [];
  const plain = { start: 0, line: 0, name: null, answers: [], answerRanges: [] };
  return casesOf(engine, [{ ...from.prompt, ...plain }]);
}

/** Runs an experiment as background work that urgent requests overtake, with progress that can be cancelled. */
async function experiment(
  host: ModelHost,
  open: OpenPrompts,
  q: Requests['attentionCircuits/experiment']['params'],
  signal: AbortSignal,
): Promise<ExperimentResult> {
  const e = experimentOf(q.id);
  const engine = await host.engine();
  const cases = casesFor(engine, open, q.prompts);
  return host.withProgress(e.title, signal, (both, report) =>
    host.scheduler.run('batch', both, (turn) =>
      runExperiment(e, engine, cases, q.values, {
        signal: both,
        step: async (message, fraction) => {
          report(message, fraction);
          await turn.breathe();
        },
      }),
    ),
  );
}

/** The handlers of the custom requests. */
export function requestHandlers(host: ModelHost, open: OpenPrompts): Handlers {
  const analyse = (p: PromptRef, signal: AbortSignal): Promise<Analysis> => host.analyse(p, 'interactive', signal);
  const labelsOf =
    (engine: Engine): LabelOf =>
    (site, index) =>
      host.labelOf(engine, site, index);
  const corpus = new CorpusHost(host);
  const graphs = new GraphFiles();
  return {
    'attentionCircuits/label': async (q) => {
      const engine = await host.engine();
      engine.dictionary(q.site).checkFeature(q.feature);
      const model = engine.model.config.modelName;
      if (q.label !== undefined) await host.labels.set(model, q.site, q.feature, q.label);
      return { label: host.labels.of(model, q.site, q.feature) ?? null };
    },
    'attentionCircuits/status': () => Promise.resolve(host.status),
    'attentionCircuits/load': async () => {
      await host.engine();
      return host.status;
    },
    'attentionCircuits/reload': async () => {
      await host.drop();
      await host.engine();
      return host.status;
    },
    'attentionCircuits/prompt': async (q, signal) => promptResult(await analyse(q.prompt, signal), signal),
    'attentionCircuits/locate': async (q) => {
      await host.engine();
      return open.locate(q.uri, q.offset);
    },
    'attentionCircuits/features': async (q, signal) => {
      const a = await analyse(q.prompt, signal);
      if (q.position >= a.prompt.tokens.length) throw new UsageError(`position ${q.position} is outside the prompt`);
      return { features: await wireFeatures(a, q.position, q.limit, labelsOf(a.engine)) };
    },
    'attentionCircuits/root': async ({ root, ...q }, signal) => {
      if (root.type === 'graph') return graphs.root(root);
      const a = await analyse(q.prompt, signal);
      return {
        ...(await promptResult(a, signal)),
        root: wireNode(a.run, await makeRoot(a.run, root), labelsOf(a.engine)),
      };
    },
    'attentionCircuits/expand': async ({ root, ...q }, signal) => {
      if (root.type === 'graph') return graphs.expand(root, q.node, q.limit);
      const a = await analyse(q.prompt, signal);
      return expandNode(a.run, root, q.node, q, labelsOf(a.engine));
    },
    'attentionCircuits/grid': async ({ root, ...q }, signal) =>
      root.type === 'graph' ? null : gridOf((await analyse(q.prompt, signal)).run, root, q.node),
    'attentionCircuits/sources': async ({ root, ...q }, signal) =>
      root.type === 'graph'
        ? { sources: graphs.sources(root, q.node) }
        : { sources: await sourcesOf((await analyse(q.prompt, signal)).run, root, q.node) },
    'attentionCircuits/validate': (q, signal) =>
      host.heavy(q.prompt, 'interactive', signal, (a) => validateEdge(a.engine, a.run, q.root, q.edge)),
    'attentionCircuits/ablate': (q, signal) =>
      host.heavy(q.prompt, 'interactive', signal, async (a) => {
        const r = await ablate(a.engine, a.run, q.root, q.features, signal);
        return { ...r, before: wirePredictions(r.before), after: wirePredictions(r.after) };
      }),
    'attentionCircuits/feature': async (q, signal) => {
      const engine = await host.engine();
      const details = await featureDetails(engine, q.site, q.feature, 10);
      const lens = await residualLens(engine, q.site, q.feature, 10);
      const { kind, layer, config } = engine.dictionary(q.site);
      const named = (list: typeof details.positive): FeatureResult['positive'] =>
        list.map((e) => ({ ...e, text: e.text ?? String(e.id) }));
      return {
        site: { site: q.site, kind, layer, d_sae: config.d_sae },
        feature: q.feature,
        label: host.labelOf(engine, q.site, q.feature),
        headShares: details.headShares,
        positive: named(details.positive),
        negative: named(details.negative),
        neuronpedia: /^[\w.-]+\/[\w.-]+$/.test(config.neuronpedia_id ?? '') ? config.neuronpedia_id : null,
        lens: lens && {
          ...lens,
          entries: lens.entries.map((e) => ({ ...e, label: host.labelOf(engine, e.site, e.feature) })),
        },
        ...(await examplesOf(host, open, q.site, q.feature, signal)),
      };
    },
    'attentionCircuits/dashboard': (q) => corpus.dashboard(q.site, q.feature),
    'attentionCircuits/indexCorpus': (_q, signal) => corpus.build(signal),
    'attentionCircuits/searchFeatures': (q, signal) => corpus.search(q.by, q.text, q.limit, signal),
    'attentionCircuits/attention': async (q, signal) =>
      attention(await analyse(q.prompt, signal), q.layer, q.head, q.destination),
    'attentionCircuits/registry': () => Promise.resolve({ entries: host.hub.entries() }),
    'attentionCircuits/hubPlan': ({ names }, signal) =>
      host.withProgress('Asking the Hub', signal, (both) => host.hub.plan(names, both)),
    'attentionCircuits/hubDownload': ({ names }, signal) =>
      host.withProgress('Fetching', signal, (both, report) =>
        host.hub.fetch(names, { signal: both, onProgress: throttled(report) }),
      ),
    'attentionCircuits/neuronpedia': (q, signal) => host.hub.neuronpedia(q.id, q.feature, signal),
    'attentionCircuits/identity': async () => identityOf(await host.engine()),
    'attentionCircuits/parseCircuit': ({ path, text }) =>
      Promise.resolve(
        relabelled(parseCircuit(path, text), (model, site, feature) => host.ownLabel(model, site, feature)),
      ),
    'attentionCircuits/checkCircuit': async ({ circuit }, signal) => {
      const engine = await host.engine();
      const { circuit: checked } = parseCircuit('circuit', JSON.stringify(circuit));
      return host.withProgress('Computing the circuit again', signal, (both) =>
        host.scheduler.run('batch', both, () => checkCircuit(engine, checked, both)),
      );
    },
    'attentionCircuits/notes': ({ file, text }) => Promise.resolve(notesOf(file, text)),
    'attentionCircuits/noteAnchor': ({ text, start, end }) => Promise.resolve({ target: noteAnchor(text, start, end) }),
    'attentionCircuits/changeNote': async ({ file, id, change }) => ({ note: await changeNote(file, id, change) }),
    'attentionCircuits/tool': ({ name, input }, signal) => runTool(host, name, input, signal),
    'attentionCircuits/tabulate': (q, signal) => tabulate(host, q, signal),
    'attentionCircuits/verify': async (_q, signal) => {
      const engine = await host.engine();
      const table = tableFor(join(host.home, 'server', 'golden'), engine);
      const rows = await host.withProgress('Verifying', signal, (both, report) =>
        host.scheduler.run('batch', both, (turn) =>
          verify(engine, table, {
            signal: both,
            step: async (message, fraction) => {
              report(message, fraction);
              await turn.breathe();
            },
          }),
        ),
      );
      return { table: table.name, rows };
    },
    'attentionCircuits/experiments': () => Promise.resolve({ experiments: EXPERIMENTS.map(infoOf) }),
    'attentionCircuits/experiment': (q, signal) => experiment(host, open, q, signal),
    'attentionCircuits/experimentScript': async (q, signal) => {
      const engine = await host.engine();
      return { text: await experimentScript(host, engine, casesFor(engine, open, q.prompts), q, signal) };
    },
    'attentionCircuits/treeScript': async (q, signal) => ({
      text: await treeScript(host, await analyse(q.prompt, signal), q.root, q.nodes),
    }),
    'attentionCircuits/featureScript': async (q) => ({
      text: await featureScript(host, await host.engine(), corpus, q),
    }),
    'attentionCircuits/ioi': async (q) => {
      const engine = await host.engine();
      return { text: ioiFile(ioiSentences(engine, q.count, q.seed, q.conjunction), q.seed) };
    },
    'attentionCircuits/heat': (q, signal) => heat(host, open, q.uri, q.site, q.feature, signal),
  };
}
