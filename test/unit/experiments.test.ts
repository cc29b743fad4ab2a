/** Identities of the experiments on the demo model and on random models, and what they refuse. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runSpliced } from '../../server/src/analyses';
import { activationAt } from '../../server/src/dictionaries';
import { Engine } from '../../server/src/engine';
import { type Trace } from '../../server/src/model';
import { buildTree } from '../../server/src/attribution';
import {
  align,
  type Case,
  caseOfTokens,
  casesOf,
  completeValues,
  correlation,
  EXPERIMENTS,
  experimentOf,
  type ExperimentResult,
  type ExperimentValues,
  ioiFile,
  ioiSentences,
  runExperiment,
  separation,
  varianceExplained,
} from '../../server/src/experiments';
import { RunCache } from '../../server/src/experiments/runCache';
import { parsePrompts } from '../../server/src/prompts';
import { promptOf, randomEngine } from '../support/randomEngine';
import { join } from 'node:path';

const DEMO = join(import.meta.dirname, '..', '..', 'demo');
const signal = new AbortController().signal;

const rowsOf = (r: ExperimentResult, id: string): Record<string, string | number | null>[] => {
  const t = r.tables.find((x) => x.id === id);
  if (!t) throw new Error(`no table ${id}`);
  return t.rows.map((row) => Object.fromEntries(row.map((v, i) => [t.columns[i].key, v])));
};

describe('on the demo model', () => {
  let engine: Engine;
  let cases: Case[];
  const run = (id: string, values: ExperimentValues = {}, list = cases): Promise<ExperimentResult> =>
    runExperiment(experimentOf(id), engine, list, values, { signal });
  beforeAll(async () => {
    engine = await Engine.open({
      model: join(DEMO, 'model'),
      dictionaries: [join(DEMO, 'saes')],
      contract: 'auto',
      provider: 'cpu',
    });
    cases = casesOf(engine, parsePrompts(ioiFile(ioiSentences(engine, 8, 3), 3)).prompts);
  });
  afterAll(() => engine.close());

  test('generated sentences: seeded, balanced, a file that reads back, roles where the names stand', () => {
    const make = (seed: number): string => ioiFile(ioiSentences(engine, 20, seed), seed);
    expect(make(5)).toBe(make(5));
    expect(make(5)).not.toBe(make(6));
    const sentences = ioiSentences(engine, 20, 5);
    const { prompts, problems } = parsePrompts(make(5));
    expect(problems).toEqual([]);
    const read = casesOf(engine, prompts);
    expect(read.filter((c) => c.template === 'ABBA')).toHaveLength(10);
    read.forEach((c, i) => {
      const text = (p: number | undefined): string | undefined => engine.tokenizer?.text(c.tokens[p ?? -1])?.trim();
      expect([text(c.roles.IO), text(c.roles.S1), text(c.roles.S2), text(c.roles.END)]).toEqual([
        sentences[i].io,
        sentences[i].s,
        sentences[i].s,
        'to',
      ]);
      expect(text(c.roles.and)).toBe('and');
      expect(c.roles.S1).toBeLessThan(c.roles.S2 ?? 0);
      expect(c.template).toBe(sentences[i].order);
    });
  });

  test('a name of several tokens: the role is its last token, the answer its first', () => {
    const [c] = casesOf(
      engine,
      parsePrompts('When Genevieve and John went to the park, John gave a ring to\n-> " Genevieve" | " John"').prompts,
    );
    const name = engine.prompt(' Genevieve', false).tokens;
    expect(name.length).toBeGreaterThan(1);
    expect(c.answer).toBe(name[0]);
    const at = c.roles.IO ?? 0;
    expect(c.tokens.slice(at - name.length + 1, at + 1)).toEqual(name);
  });

  test('evaluation: with the error term nothing changes; without it the weakest set is named', async () => {
    const same = await run('evaluate', { 'error-term': true });
    expect(same.checks[0].miss).toBeLessThan(same.checks[0].limit);
    const r = await run('evaluate', { sections: '2;0-3' });
    expect(rowsOf(r, 'sections').map((x) => x.layers)).toEqual(['2', '0,1,2,3']);
    for (const x of rowsOf(r, 'sections')) {
      const clean = Number(x.ld) / Number(x.ratio);
      expect((Number(x.ld) - Number(x.zero)) / (clean - Number(x.zero))).toBeCloseTo(Number(x.recovered), 6);
      expect(Number(x.kl)).toBeGreaterThanOrEqual(0);
    }
  });

  test('noising with the prompt itself keeps everything; with every layer’s stream at every role it gives the other run', async () => {
    const same = await run('noise', { from: 'and', to: 'and', layers: '0-3', role: 'S2' });
    for (const x of rowsOf(same, 'prompts')) expect(x.patched).toBeCloseTo(Number(x.clean), 3);
    const swapped = await run('noise', { corruption: 'swap', hook: 'resid_pre', layers: '3', role: 'END' });
    const twins = casesOf(
      engine,
      parsePrompts(
        rowsOf(swapped, 'prompts')
          .map((x) => String(x.other))
          .join('\n'),
      ).prompts,
    );
    const dla = await run(
      'dla',
      {},
      twins.map((t, i) => ({ ...t, answer: cases[i].answer, distractor: cases[i].distractor })),
    );
    // The stream into the last layer at END decides the rest but for layer 3's reading of earlier positions, which attends to almost nothing.
    const other = Number(/Mean (−?[\d.]+)/.exec(dla.summary[0])?.[1].replace('−', '-'));
    const patched = rowsOf(swapped, 'runs').find((x) => x.run === 'patched');
    expect(Math.abs(Number(patched?.ld) - other)).toBeLessThan(0.1 * Math.abs(other) + 0.2);
  });

  test('ablation: the pairing zeroes the own position, the union those of all prompts, as running each case by hand does', async () => {
    const positions = [...new Set(cases.map((c) => c.roles.END ?? -1))];
    expect(positions.length).toBeGreaterThan(1);
    const values = { site: '2', role: 'END', 'max-features': 2, estimate: false };
    for (const union of [false, true]) {
      const shown = rowsOf(await run('ablation', { ...values, union }), 'single');
      const features = [...new Set(shown.map((x) => String(x.feature)))].filter((f) => !f.startsWith('error'));
      expect(features).toHaveLength(2);
      for (const c of cases) {
        const analysed = await engine.run(c.tokens);
        const difference = async (trace: Trace): Promise<number> => {
          const { logits } = await engine.model.unembed(trace.resid_post.slice(-engine.model.config.d_model));
          return logits[c.answer ?? 0] - logits[c.distractor ?? 0];
        };
        for (const f of features) {
          const [site, feature] = [f.slice(0, f.lastIndexOf('/')), Number(f.slice(f.lastIndexOf('/') + 1))];
          const at = union ? positions.filter((p) => p < c.tokens.length) : [c.roles.END ?? 0];
          const interventions = at.map((position) => ({ site, feature, position, change: () => 0 }));
          const zeroed = await runSpliced(engine, analysed, { splice: [], errorTerm: true, interventions });
          const effect = (await difference(zeroed)) - (await difference(analysed.trace));
          const row = shown.find((x) => x.feature === f && x.prompt === c.name);
          expect(Number(row?.effect ?? 0)).toBeCloseTo(effect, 4);
        }
      }
    }
  });

  test('QK sums are the pattern’s, for every head of a layer', async () => {
    for (let h = 0; h < 4; h++) {
      const r = await run('qk', { head: `2.${h}`, top: 5 });
      expect(r.checks[0].miss).toBeLessThan(r.checks[0].limit);
      const shown = rowsOf(r, 'pairs');
      expect(shown).toHaveLength(5);
      const e = rowsOf(r, 'explained').map((x) => Number(x.explained));
      for (const v of e) expect(v).toBeLessThanOrEqual(1 + 1e-9);
    }
  });

  test('comparison of a prompt with itself is zero everywhere', async () => {
    const r = await run('compare', {}, [cases[0], { ...cases[0], name: 'again' }]);
    for (const t of ['predictions', 'features', 'tree', 'branches'])
      for (const x of rowsOf(r, t)) expect(x.difference).toBe(0);
  });

  test('trees side by side: each side is its own tree; swapped names change places when tokens are aligned', async () => {
    const [left, right] = casesOf(
      engine,
      parsePrompts(
        ['John and Mary', 'Mary and John']
          .map((n) => `When ${n} went to the shops, John gave the bag to\n-> " Mary" | " John"\n`)
          .join(''),
      ).prompts,
    );
    const tokens = [left.answer ?? 0, left.distractor ?? 0];
    for (const by of ['position', 'token'] as const) {
      const rows = rowsOf(await run('compare', { depth: 2, children: 3, align: by }, [left, right]), 'branches');
      for (const [side, c] of [
        ['left', left],
        ['right', right],
      ] as const) {
        const root = { type: 'logit' as const, tokens, position: c.tokens.length - 1 };
        const own = await buildTree(await engine.run(c.tokens), root, {
          depth: 2,
          top: 400,
          view: 'component',
          by: 'source',
        });
        const all = [...own.children, ...own.children.flatMap((n) => n.children)].map((n) => n.contribution);
        for (const row of rows.filter((x) => x[side] !== null))
          expect(Math.min(...all.map((v) => Math.abs(v - Number(row[side]))))).toBeLessThan(1e-6);
        const [first] = rows;
        expect(Math.max(...all.slice(0, own.children.length).map(Math.abs))).toBeGreaterThanOrEqual(
          Math.abs(Number(first[side])),
        );
      }
      // Feature 2.74 reads the name that is only once there: at 4 in one prompt, at 2 in the other.
      const read = rows.filter((x) => String(x.branch).startsWith('\u2003← " Mary"'));
      const across = read.filter((x) => String(x.branch).includes('" Mary" @4 | " Mary" @2'));
      expect(across.length > 0).toBe(by === 'token');
    }
    expect([...align([5, 6, 7], [9, 5, 6, 7], 'position')]).toEqual([
      [0, 1],
      [1, 2],
      [2, 3],
    ]);
    expect([...align([5, 6, 5], [5, 5, 9], 'token')]).toEqual([
      [0, 0],
      [2, 1],
    ]);
  });

  test('positional features are found on given prompts and on generated ones', async () => {
    const r = await run('positional', { conjunctions: 'and,plus', count: 6, role: 'S2', top: 5 });
    expect(r.tables[0].columns.map((c) => c.title).slice(3)).toEqual([
      'separation, the given prompts',
      'separation, and',
      'separation, plus',
    ]);
    for (const x of rowsOf(r, 'features')) {
      const name = String(x.feature);
      const [site, feature] = [name.slice(0, name.lastIndexOf('/')), Number(name.slice(name.lastIndexOf('/') + 1))];
      const of = async (template: string): Promise<number[]> => {
        const out = [];
        for (const c of cases.filter((k) => k.template === template)) {
          const analysed = await engine.run(c.tokens);
          out.push(activationAt(await analysed.acts(site), c.roles.S2 ?? 0, feature));
        }
        return out;
      };
      const [abba, baba] = [await of('ABBA'), await of('BABA')];
      expect(x.g0).toBeCloseTo(separation(abba, baba), 9);
      expect(x.a).toBeCloseTo(abba.reduce((a, b) => a + b, 0) / abba.length, 6);
    }
  });

  test('the name before the conjunction against the one after it, in prompts of both orders', async () => {
    const r = await run('positional', { compare: 'side', conjunctions: 'and', count: 4, top: 3 });
    expect(r.tables[0].columns[1].title).toBe('mean, first name');
    for (const x of rowsOf(r, 'features')) {
      const name = String(x.feature);
      const [site, feature] = [name.slice(0, name.lastIndexOf('/')), Number(name.slice(name.lastIndexOf('/') + 1))];
      const [first, second]: number[][] = [[], []];
      for (const { tokens, roles, template } of cases) {
        const acts = await (await engine.run(tokens)).acts(site);
        const [a, b] = template === 'ABBA' ? [roles.IO, roles.S1] : [roles.S1, roles.IO];
        first.push(activationAt(acts, a ?? -1, feature));
        second.push(activationAt(acts, b ?? -1, feature));
      }
      expect(first).toHaveLength(cases.length);
      expect(x.g0).toBeCloseTo(separation(first, second), 9);
      expect(x.b).toBeCloseTo(second.reduce((s, v) => s + v, 0) / second.length, 6);
    }
  });

  test('kept runs stay within their limit, the least recently used go first, and are computed again the same', async () => {
    const signal = new AbortController().signal;
    const one = new RunCache(engine, signal, 1);
    const first = await one.get(cases[0]);
    const size = one.size;
    await one.get(cases[1]);
    expect(one.size).toBeLessThan(2 * size);
    const again = await one.get(cases[0]);
    expect(again).not.toBe(first);
    expect(again.trace.resid_post).toEqual(first.trace.resid_post);
    const roomy = new RunCache(engine, signal);
    expect(await roomy.get(cases[0])).toBe(await roomy.get(cases[0]));
  });

  test('settings are stored with the result and make it again', async () => {
    const first = await run('dla', { top: 3 });
    const again = await run(first.experiment, first.settings.values);
    expect(again).toEqual(first);
  });

  test('a cancelled experiment gives no result', async () => {
    const abort = new AbortController();
    const step = (): Promise<void> => {
      abort.abort();
      return Promise.resolve();
    };
    await expect(
      runExperiment(experimentOf('evaluate'), engine, cases, {}, { signal: abort.signal, step }),
    ).rejects.toThrow(/interrupted/);
  });

  test('what cannot be done is refused by name', async () => {
    const bare = casesOf(engine, parsePrompts('John gave').prompts);
    await expect(run('evaluate', {}, bare)).rejects.toThrow(/prompt 1 has no answer/);
    await expect(run('noise', { role: 'S2' }, [caseOfTokens([896, 1, 2], 5, 6)])).rejects.toThrow(/has no position S2/);
    await expect(run('noise', { from: 'nor' })).rejects.toThrow(/does not contain " nor "/);
    await expect(run('qk', { head: '9.9' })).rejects.toThrow(/expected a head/);
    await expect(run('path-patch', { feature: '2.1', heads: '1.0' })).rejects.toThrow(/comes before/);
    await expect(run('compare', {})).rejects.toThrow(/needs two prompts/);
    expect(() => completeValues(experimentOf('dla'), { top: 'many' })).toThrow(/top expects a whole number/);
    expect(() => completeValues(experimentOf('dla'), { nothing: 1 })).toThrow(/no setting nothing/);
    expect(() => experimentOf('magic')).toThrow(/there are evaluate/);
  });
});

test('QK sums are the pattern’s on random models, with and without the default processing', async () => {
  for (const contract of ['default', 'none'] as const) {
    const dictionaries = [
      { hook_name: 'blocks.0.attn.hook_z', architecture: 'standard' },
      { hook_name: 'blocks.0.ln2.hook_normalized', architecture: 'transcoder' },
    ];
    const { engine, close } = await randomEngine({ layers: 3, heads: 3, d_head: 8, seed: 11, contract, dictionaries });
    const c = caseOfTokens(promptOf(9, 4), 1, 2);
    const r = await runExperiment(
      experimentOf('qk'),
      engine,
      [c],
      { head: '2.1', from: '8', to: '3', minus: '5' },
      { signal },
    );
    expect(r.checks[0].miss).toBeLessThan(1e-3);
    const dla = await runExperiment(experimentOf('dla'), engine, [c], {}, { signal });
    for (const check of dla.checks) expect(check.miss).toBeLessThan(check.limit);
    await close();
  }
});

test('every experiment’s settings have defaults that are themselves valid', () => {
  for (const e of EXPERIMENTS) expect(Object.keys(completeValues(e, {}))).toEqual(e.parameters.map((p) => p.name));
});

test('separation: 1 when every left is larger, symmetric around a half; correlation and variance explained of a thing with itself', () => {
  const numbers = fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 2, maxLength: 12 });
  fc.assert(
    fc.property(numbers, numbers, (a, b) => {
      expect(separation(a, b) + separation(b, a)).toBeCloseTo(1, 12);
      expect(
        separation(
          a.map((x) => x + 1000),
          b,
        ),
      ).toBe(1);
      if (new Set(a).size > 1) {
        expect(correlation(a, a)).toBeCloseTo(1, 12);
        expect(varianceExplained(a, a)).toBe(1);
        expect(
          varianceExplained(
            a,
            a.map(() => 3),
          ),
        ).toBeCloseTo(0, 12);
      }
    }),
  );
});
