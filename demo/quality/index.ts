/** `npm run demo:quality`: measures the demo model with the product's own engine and prints the tables of its model card. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Engine, type PromptRun } from '../../server/src/engine';
import {
  attentionShares,
  cleanLoss,
  dictionaryQuality,
  ioiResult,
  type IoiSentence,
  type PronounSentence,
  sourcesOfDifference,
  withoutAttention,
} from './measure';

const percent = (x: number): string => `${(100 * x).toFixed(1)}%`;
const print = (line = ''): void => console.log(line);
const average = (xs: number[]): number => xs.reduce((a, b) => a + b, 0) / xs.length;

interface Verdict {
  what: string;
  pass: boolean;
}

const verdicts: Verdict[] = [];
const judge = (what: string, pass: boolean): void => {
  verdicts.push({ what, pass });
};

async function ioi(engine: Engine, sentences: IoiSentence[], runs: PromptRun[]): Promise<void> {
  const results: (IoiSentence & { right: boolean; difference: number })[] = [];
  for (const [i, s] of sentences.entries()) results.push({ ...s, ...(await ioiResult(engine, runs[i].trace, s)) });
  print('## Indirect objects\n');
  print('| sentences | top prediction is the indirect object | logit difference |');
  print('|---|---|---|');
  const row = (name: string, keep: (s: IoiSentence) => boolean): void => {
    const some = results.filter(keep);
    const right = average(some.map((r) => Number(r.right)));
    print(`| ${name} (${some.length}) | ${percent(right)} | ${average(some.map((r) => r.difference)).toFixed(2)} |`);
    judge(`IOI ${name} ≥ 99%`, right >= 0.99);
  };
  row('all', () => true);
  for (const order of ['ABBA', 'BABA']) row(order, (s) => s.order === order);
  for (const c of new Set(sentences.map((s) => s.conjunction))) row(`"${c}"`, (s) => s.conjunction === c);
  const clean = average(results.map((r) => r.difference));
  print('\n## Depth\n');
  print(
    '| attention of layer | logit difference with it set to zero | change | share of Σ|contributions| to the logit difference through its features |',
  );
  print('|---|---|---|---|');
  const some = sentences.slice(0, 200);
  const shares = [];
  for (const [i, s] of some.entries()) shares.push(await attentionShares(engine, runs[i], s));
  let deep = 0;
  for (let l = 0; l < engine.model.config.n_layers; l++) {
    const zeroed = [];
    for (const [i, s] of sentences.entries()) zeroed.push(await withoutAttention(engine, runs[i], l, s));
    const change = average(zeroed) / clean - 1;
    if (change <= -0.25) deep++;
    print(
      `| ${l} | ${average(zeroed).toFixed(2)} | ${percent(change)} | ${percent(average(shares.map((x) => x[l])))} |`,
    );
  }
  judge('zeroing the attention of at least two layers costs ≥ 25% of the logit difference', deep >= 2);
}

async function dictionaries(engine: Engine, runs: PromptRun[]): Promise<void> {
  print('\n## Dictionaries\n');
  print('| site | width | L0 | dead | loss clean | spliced | zero-ablated | loss recovered |');
  print('|---|---|---|---|---|---|---|---|');
  const loss = await cleanLoss(engine, runs);
  for (const site of engine.dictionaries.keys()) {
    const q = await dictionaryQuality(engine, site, runs, loss);
    const cells = [
      q.d_sae,
      q.l0.toFixed(1),
      percent(q.dead),
      q.clean.toFixed(3),
      q.spliced.toFixed(3),
      q.zeroed.toFixed(3),
    ];
    const cheap = q.zeroed - q.clean < 0.1;
    const recovered = cheap ? `costs ${(q.spliced - q.clean).toFixed(4)} nats` : percent(q.recovered);
    print(`| ${site} | ${cells.join(' | ')} | ${recovered} |`);
    judge(`${site}: L0 ≤ d_in/8`, q.l0 <= q.d_in / 8);
    judge(`${site}: ≤ 40% dead`, q.dead <= 0.4);
    judge(`${site}: loss recovered`, cheap ? q.spliced - q.clean <= 0.01 : q.recovered >= 0.9);
  }
}

async function pronouns(engine: Engine, sentences: PronounSentence[]): Promise<void> {
  const she = engine.prompt(' She', false).tokens[0];
  const he = engine.prompt(' He', false).tokens[0];
  let right = 0;
  const shares: number[] = [];
  let strongest = 0;
  for (const s of sentences) {
    const prompt = engine.prompt(s.prompt, true);
    const run = await engine.run(prompt.tokens);
    const { logits } = await run.logitsAt(prompt.tokens.length - 1);
    right += Number(logits[she] - logits[he] > 0 === (s.pronoun === 'She'));
    const sources = await sourcesOfDifference(run, [she, he]);
    const from = s.prompt.indexOf(s.name);
    const inName = prompt.ranges.map((r) => r !== null && r.end > from && r.start < from + s.name.length);
    const total = sources.reduce((a, b) => a + Math.abs(b), 0);
    const name = Math.abs(sources.reduce((a, b, i) => (inName[i] ? a + b : a), 0));
    const rest = Math.max(...sources.map((v, i) => (inName[i] ? 0 : Math.abs(v))));
    shares.push(name / total);
    strongest += Number(name > rest);
  }
  const n = sentences.length;
  print('\n## Gender\n');
  print(
    `On ${n} sentences the pronoun's sign is right in ${percent(right / n)}. In the tree of " She" − " He" the name is the strongest source in ${percent(strongest / n)}, with a mean share of ${percent(average(shares))} (median ${percent([...shares].sort((a, b) => a - b)[Math.floor(n / 2)])}).`,
  );
  judge('gender: the name is the strongest source', strongest / n >= 0.9);
  judge('gender: mean share of the name ≥ 50%', average(shares) >= 0.5);
}

async function main(): Promise<void> {
  const home = join(__dirname, '..', 'demo');
  const dir = process.argv[2] ?? home;
  const lines = readFileSync(join(dir, 'heldout.jsonl'), 'utf8').trim().split('\n');
  const all = lines.map((l) => JSON.parse(l) as IoiSentence | PronounSentence);
  const sentences = all.filter((s): s is IoiSentence => s.kind === 'ioi');
  const engine = await Engine.open({
    model: join(dir, 'model'),
    dictionaries: [join(dir, 'saes')],
    contract: 'auto',
    provider: 'cpu',
  });
  const runs: PromptRun[] = [];
  for (const s of sentences) runs.push(await engine.run(engine.prompt(s.prompt, true).tokens));
  await ioi(engine, sentences, runs);
  await pronouns(
    engine,
    all.filter((s): s is PronounSentence => s.kind === 'pronoun'),
  );
  const whole: PromptRun[] = [];
  for (const s of all) whole.push(await engine.run(engine.prompt(s.text, true).tokens));
  await dictionaries(engine, whole);
  print();
  for (const v of verdicts.filter((x) => !x.pass)) print(`FAILED: ${v.what}`);
  print(`${verdicts.filter((v) => v.pass).length} of ${verdicts.length} requirements met`);
  await engine.close();
  process.exitCode = verdicts.every((v) => v.pass) ? 0 : 1;
}

void main();
