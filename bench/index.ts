/** `npm run bench`: the table of speed and memory on a GPT-2-small-sized checkpoint with random weights. */
import { spawnSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { runSpliced } from '../server/src/analyses';
import { expand, makeRoot, type TreeNode } from '../server/src/attribution';
import { dfaJson } from '../server/src/cli/commands/dfa';
import { Engine, type PromptRun } from '../server/src/engine';
import { Runtime } from '../server/src/runtime';
import { bareProducts } from './bare';
import { memory, quantile, summarise, timeTogether, type Timing } from './measure';
import { benchPrompt, type BenchFiles, makeFiles } from './setup';

const ms = (t: Timing): string =>
  `${t.median.toFixed(t.median < 10 ? 2 : 0)} ms (${t.low.toFixed(t.low < 10 ? 2 : 0)}–${t.high.toFixed(t.high < 10 ? 2 : 0)})`;
const rows: string[][] = [];
const report = (what: string, figure: string, ratio = ''): void => {
  rows.push([what, figure, ratio]);
  process.stderr.write(`${what}: ${figure} ${ratio}\n`);
};

const open = (f: BenchFiles, residual = false): Promise<Engine> =>
  Engine.open({
    model: f.model,
    dictionaries: residual ? [...f.attention, ...f.residual] : f.attention,
    contract: 'default',
    provider: 'cpu',
  });

const encodeAll = async (run: PromptRun, engine: Engine): Promise<void> => {
  for (const site of engine.dictionaries.keys()) await run.acts(site);
};

/** The strongest active feature of the last layer's attention at the last position. */
async function strongest(run: PromptRun, site: string): Promise<number> {
  const acts = await run.acts(site);
  const position = run.trace.tokens.length - 1;
  let best = acts.offsets[position];
  for (let i = best; i < acts.offsets[position + 1]; i++) if (acts.activations[i] > acts.activations[best]) best = i;
  return acts.features[best];
}

const LAST = 'blocks.11.attn.hook_z';
const options = { view: 'component', by: 'source' } as const;

/** Attention feature → source → all active upstream features. */
async function recursiveStep(run: PromptRun): Promise<number> {
  const position = run.trace.tokens.length - 1;
  const root = await makeRoot(run, { type: 'feature', site: LAST, feature: await strongest(run, LAST), position });
  const sources = (await expand(run, root, options))?.children ?? [];
  const top = sources.find((c) => c.kind === 'source-token') as TreeNode;
  return (await expand(run, top, options))?.children.length ?? 0;
}

async function grow500(run: PromptRun): Promise<void> {
  const position = run.trace.tokens.length - 1;
  const queue: TreeNode[] = [
    await makeRoot(run, { type: 'feature', site: LAST, feature: await strongest(run, LAST), position }),
  ];
  for (let opened = 0; opened < 500 && queue.length > 0; opened++) {
    const e = await expand(run, queue.shift() as TreeNode, options);
    queue.push(...(e?.children ?? []).filter((c) => c.open).slice(0, 4));
  }
}

async function hover(run: PromptRun, engine: Engine, position: number): Promise<void> {
  for (const [site] of engine.dictionaries) {
    const acts = await run.acts(site);
    const from = acts.offsets[position];
    const to = Math.min(from + 3, acts.offsets[position + 1]);
    for (let i = from; i < to; i++) await dfaJson(run, site, acts.features[i], position);
  }
}

async function compute(engine: Engine, runtime: Runtime): Promise<void> {
  const sites = [...engine.dictionaries.keys()];
  for (const S of [16, 64, 256]) {
    const bare = await bareProducts(engine, runtime, sites, S);
    const forward = async (): Promise<void> => encodeAll(await engine.run(benchPrompt(S)), engine);
    const [f, b] = await timeTogether(S > 64 ? 5 : 9, [forward, bare]);
    report(
      `forward with hooks + 12 attention encodes, ${S} tokens`,
      ms(f),
      `${(f.median / b.median).toFixed(2)} × bare products (${ms(b)})`,
    );
  }
  for (const S of [16, 64, 256]) {
    const first = async (): Promise<void> => void (await recursiveStep(await engine.run(benchPrompt(S))));
    const bare = await bareProducts(engine, runtime, sites, S);
    const [t, b] = await timeTogether(S > 64 ? 5 : 9, [first, bare]);
    report(
      `prompt → first recursive DFA step, ${S} tokens`,
      ms(t),
      `${(t.median / b.median).toFixed(2)} × bare products`,
    );
  }
  for (const S of [16, 64]) {
    const run = await engine.run(benchPrompt(S));
    const spliced = async (): Promise<void> =>
      void (await runSpliced(engine, run, { splice: sites, errorTerm: true, interventions: [] }));
    const bare = await bareProducts(engine, runtime, sites, S);
    const [t, b] = await timeTogether(5, [spliced, bare]);
    report(
      `12 attention SAEs spliced with error term, ${S} tokens`,
      ms(t),
      `${(t.median / b.median).toFixed(2)} × bare products`,
    );
  }
}

async function interactive(engine: Engine): Promise<void> {
  const run = await engine.run(benchPrompt(16));
  await encodeAll(run, engine);
  const cold = performance.now();
  const children = await recursiveStep(run);
  const first = performance.now() - cold;
  const [step] = await timeTogether(50, [async () => void (await recursiveStep(run))]);
  report(
    `one recursive step (${children} children)`,
    ms(step),
    `first touch of the source token ${first.toFixed(1)} ms`,
  );
  const times: number[] = [];
  for (let seed = 2; seed < 7; seed++) {
    const fresh = await engine.run(benchPrompt(16, seed));
    await encodeAll(fresh, engine);
    const start = performance.now();
    await grow500(fresh);
    times.push(performance.now() - start);
  }
  report('a tree of 500 opened nodes', ms(summarise(times)));
  const hovers: number[] = [];
  for (let position = 0; position < 16; position++) {
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      await hover(run, engine, position);
      hovers.push(performance.now() - start);
    }
  }
  report(
    'hover data on an analysed prompt, 3 features a layer, p95',
    `${quantile(
      hovers.sort((a, b) => a - b),
      0.95,
    ).toFixed(2)} ms`,
  );
  let n = 0;
  const base = benchPrompt(64);
  const analysed = await engine.run(base);
  await encodeAll(analysed, engine);
  const edited = (): number[] => [...base.slice(0, 63), (1000 + n++) % 50257];
  const [full, edit] = await timeTogether(9, [
    async () => encodeAll(await engine.run(edited()), engine),
    async () => {
      const next = await engine.run(edited(), analysed);
      await encodeAll(next, engine);
    },
  ]);
  report(
    'last of 64 tokens edited → updated features',
    ms(edit),
    `${(edit.median / full.median).toFixed(2)} of a full run (${ms(full)})`,
  );
}

/** Figures that need a process of their own. */
async function child(mode: string, f: BenchFiles): Promise<void> {
  const engine = await open(f);
  const loaded = memory();
  const run = await engine.run(benchPrompt(mode === 'memory16' ? 16 : 256));
  await encodeAll(run, engine);
  const after = memory();
  console.log(JSON.stringify({ loaded, after }));
}

function startUp(f: BenchFiles): void {
  const args = [
    join(__dirname, 'cli.cjs'),
    'activations',
    '--json',
    '--model',
    f.model,
    '--provider',
    'cpu',
    '--contract',
    'default',
  ];
  const all = [...args, ...f.attention.flatMap((s) => ['--sae', s]), '--tokens', benchPrompt(16).join(',')];
  const times: number[] = [];
  for (let i = 0; i < 6; i++) {
    const start = performance.now();
    const r = spawnSync(process.execPath, all, { maxBuffer: 1 << 28 });
    if (r.status !== 0) throw new Error(r.stderr.toString());
    if (i > 0) times.push(performance.now() - start);
  }
  report('process start → features of a 16-token prompt, 12 attention SAEs', ms(summarise(times)));
}

function memoryRows(): void {
  for (const [mode, what] of [
    ['memory16', '12 attention SAEs, after a 16-token prompt'],
    ['memory256', '12 attention SAEs, after a 256-token prompt'],
  ]) {
    const r = spawnSync(process.execPath, [__filename, mode], { encoding: 'utf8' });
    if (r.status !== 0) throw new Error(r.stderr);
    const { after } = JSON.parse(r.stdout) as { after: { anonymous: number; resident: number; peak: number } };
    report(
      `memory: ${what}`,
      `${after.anonymous.toFixed(2)} GiB private`,
      `${after.resident.toFixed(2)} GiB resident, peak ${after.peak.toFixed(2)}`,
    );
  }
}

async function main(): Promise<void> {
  const files = await makeFiles((line) => process.stderr.write(`${line}\n`));
  const mode = process.argv[2];
  if (mode?.startsWith('memory')) return child(mode, files);
  startUp(files);
  memoryRows();
  const engine = await open(files);
  const runtime = new Runtime('cpu');
  await compute(engine, runtime);
  await interactive(engine);
  const own = memory();
  console.log(
    `${cpus()[0]?.model ?? 'CPU'}, ${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Node ${process.version}, ONNX Runtime 1.30.0, CPU provider\n`,
  );
  console.log('| what | median (lowest–highest) | beside it |\n|---|---|---|');
  for (const r of rows) console.log(`| ${r.join(' | ')} |`);
  console.log(`\npeak resident memory of the benchmark process ${own.peak.toFixed(2)} GiB`);
  await runtime.close();
  await engine.close();
}

void main().catch((e: unknown) => {
  process.stderr.write(`${e instanceof Error ? e.message : String(e)}\n`);
  process.exitCode = 1;
});
