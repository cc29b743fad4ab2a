import { UsageError } from '../errors';
import { type Engine } from '../engine';
import { type Hooks, type Trace } from '../model';
import {
  type Case,
  type Cell,
  type ExperimentContext,
  type ExperimentParameter,
  type Role,
  ROLES,
  type Table,
} from './types';

export const mean = (x: readonly number[]): number => (x.length === 0 ? NaN : x.reduce((a, b) => a + b, 0) / x.length);

/** Standard deviation with n − 1; 0 for a single number. */
export function deviation(x: readonly number[]): number {
  if (x.length < 2) return 0;
  const m = mean(x);
  return Math.sqrt(x.reduce((s, v) => s + (v - m) ** 2, 0) / (x.length - 1));
}

/** Standard error of the mean. */
export const standardError = (x: readonly number[]): number => deviation(x) / Math.sqrt(Math.max(1, x.length));

/** Logits at the last position [d_vocab]. */
export async function lastLogits(engine: Engine, trace: Trace): Promise<Float32Array> {
  return (await engine.model.unembed(trace.resid_post.slice(-engine.model.config.d_model))).logits;
}

export const difference = (logits: Float32Array, c: Case): number => logits[c.answer ?? 0] - logits[c.distractor ?? 0];

/** logit[answer] − logit[distractor] at the last position. */
export const logitDifference = async (engine: Engine, trace: Trace, c: Case): Promise<number> =>
  difference(await lastLogits(engine, trace), c);

/** A role's position in a case. Throws UsageError naming the prompt that has none. */
export function roleOf(c: Case, role: Role): number {
  const p = c.roles[role];
  if (p === undefined) {
    throw new UsageError(`prompt ${c.name} has no position ${role}: it needs the answer once and the distractor twice`);
  }
  return p;
}

/** Parses a role name. Throws UsageError. */
export function parseRole(text: string): Role {
  const role = ROLES.find((r) => r.toLowerCase() === text.toLowerCase());
  if (!role) throw new UsageError(`unknown role ${text}; there are ${ROLES.join(', ')}`);
  return role;
}

/** The setting that names a position by its role. */
export const roleParameter = (name: string, description: string, preset: Role): ExperimentParameter => ({
  name,
  description,
  type: 'choice',
  default: preset,
  choices: ROLES,
});

/** Layers from `0,2-4`. Throws UsageError. */
export function parseLayers(text: string, n: number): number[] {
  const layers = text.split(',').flatMap((part) => {
    const [, from, to] = /^\s*(\d+)(?:-(\d+))?\s*$/.exec(part) ?? [];
    if (from === undefined) throw new UsageError(`expected layers such as 0,2-4, got ${JSON.stringify(text)}`);
    const last = Number(to ?? from);
    return Array.from({ length: Math.max(0, last - Number(from) + 1) }, (_, i) => Number(from) + i);
  });
  const wrong = layers.find((l) => l >= n);
  if (wrong !== undefined) throw new UsageError(`layer ${wrong} does not exist: the model has ${n} layers`);
  return layers;
}

/** `LAYER.HEAD`. Throws UsageError. */
export function parseHead(engine: Engine, text: string): { layer: number; head: number } {
  const [, layer, head] = /^\s*(\d+)\.(\d+)\s*$/.exec(text) ?? [];
  const { n_layers, n_heads } = engine.model.config;
  if (layer === undefined || Number(layer) >= n_layers || Number(head) >= n_heads) {
    throw new UsageError(
      `expected a head such as 2.3 (up to ${n_layers - 1}.${n_heads - 1}), got ${JSON.stringify(text)}`,
    );
  }
  return { layer: Number(layer), head: Number(head) };
}

/** A site by its name, or the attention site of a layer by its number. Throws UsageError. */
export function parseSite(engine: Engine, text: string): string {
  return engine.dictionary(/^\d+$/.test(text.trim()) ? `blocks.${text.trim()}.attn.hook_z` : text.trim()).site;
}

/** Cross-entropy of the next tokens in nats: one number a position but the last. */
export async function losses(engine: Engine, trace: Trace): Promise<number[]> {
  const { d_model, d_vocab } = engine.model.config;
  const n = trace.tokens.length - 1;
  if (n < 1) return [];
  const { logits } = await engine.model.unembed(trace.resid_post.slice(0, n * d_model));
  return Array.from({ length: n }, (_, p) => {
    const row = logits.subarray(p * d_vocab, (p + 1) * d_vocab);
    return logSum(row) - row[trace.tokens[p + 1]];
  });
}

function logSum(row: Float32Array): number {
  let max = -Infinity;
  for (const l of row) if (l > max) max = l;
  let total = 0;
  for (const l of row) total += Math.exp(l - max);
  return max + Math.log(total);
}

/** KL(p ‖ q) of two rows of logits, in nats. */
export function divergence(p: Float32Array, q: Float32Array): number {
  const [zp, zq] = [logSum(p), logSum(q)];
  let sum = 0;
  for (let i = 0; i < p.length; i++) sum += Math.exp(p[i] - zp) * (p[i] - zp - (q[i] - zq));
  return sum;
}

/** A hook that writes other rows into an activation: row `to` of the activation becomes row `from` of `source`. */
export function replaceRows(
  source: Float32Array | null,
  rows: readonly { from: number; to: number }[],
  d: number,
): (x: Float32Array) => Float32Array {
  return (x) => {
    const out = x.slice();
    for (const { from, to } of rows) {
      if (source) out.set(source.subarray(from * d, (from + 1) * d), to * d);
      else out.fill(0, to * d, (to + 1) * d);
    }
    return out;
  };
}

/** Runs a case again with hooks. */
export async function hooked(context: ExperimentContext, c: Case, hooks: Hooks): Promise<Trace> {
  const { trace } = await context.run(c);
  return context.engine.model.runWithHooks(trace, hooks, { signal: context.signal });
}

/** A table from objects. */
export function table(id: string, title: string, columns: Record<string, string>, rows: Record<string, Cell>[]): Table {
  const keys = Object.keys(columns);
  return {
    id,
    title,
    columns: keys.map((key) => ({ key, title: columns[key] })),
    rows: rows.map((r) => keys.map((k) => r[k] ?? null)),
  };
}

/** A value of the settings as a string or number. */
export const text = (context: ExperimentContext, name: string): string => String(context.values[name]);
export const number = (context: ExperimentContext, name: string): number => Number(context.values[name]);
export const flag = (context: ExperimentContext, name: string): boolean => context.values[name] === true;

export const fixed = (x: number, digits = 3): string => `${x < 0 ? '−' : ''}${Math.abs(x).toFixed(digits)}`;
