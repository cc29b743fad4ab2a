import { throwIfCancelled, UsageError } from '../errors';
import { type Gpt2Config } from '../formats';
import { addScaled, centreRows, mean, row } from '../maths';
import { type Feeds, floats, type Runtime, type Session } from '../runtime';
import { type Contract } from './contract';
import { type AttentionMode, attentionGraph, mlpGraph, projectGraph, unembedGraph } from './graphs';
import { headRows, joinLayer, type LayerTrace, type Trace } from './trace';
import { type LayerConstants, type ModelWeights } from './weights';

const MASKED = -1e30;

/** What a hook sees beside the activation itself. */
export interface HookContext {
  layer: number;
  /** (resid_mid − mean)/σ [S, d_model] of this run, for `hook_mlp_out` only. */
  ln2_normalized?: Float32Array;
}

/** Replaces an activation [S, d_model]; must return a new array when it changes anything. */
export type Hook = (x: Float32Array, context: HookContext) => Float32Array | Promise<Float32Array>;

/**
 * Hooks by TransformerLens name: `hook_embed` (embedding plus position), `blocks.L.hook_resid_pre`, `blocks.L.attn.hook_z`,
 * `blocks.L.hook_attn_out`, `blocks.L.hook_mlp_out`, `blocks.L.hook_resid_post`.
 */
export type Hooks = ReadonlyMap<string, Hook>;

export interface HookedRunOptions {
  /** Hold attention patterns and LayerNorm scales at those of the clean trace; MLPs are recomputed. */
  frozen?: boolean;
  signal?: AbortSignal;
}

/** GPT-2 as named hook points over runtime sessions: forward passes, hooked passes, unembedding. */
export class Gpt2 {
  readonly config: Gpt2Config;
  private readonly perLayer: LayerConstants[];

  constructor(
    readonly weights: ModelWeights,
    private readonly runtime: Runtime,
    readonly contract: Contract,
  ) {
    this.config = weights.config;
    this.perLayer = Array.from({ length: this.config.n_layers }, (_, l) => weights.constants(l, contract));
  }

  /** The contract's constants of a layer. */
  constants(l: number): LayerConstants {
    return this.perLayer[l];
  }

  private get variant(): string {
    const c = this.contract;
    return [c.fold_ln, c.center_writing_weights, c.fold_value_biases].map(Number).join('');
  }

  private attention(l: number, mode: AttentionMode): Promise<Session> {
    return this.runtime.session(this.weights.cached.dir, `attn.${l}.${mode}.${this.variant}`, () =>
      attentionGraph(this.weights, l, this.perLayer[l], mode),
    );
  }

  private mlp(l: number, frozen: boolean): Promise<Session> {
    return this.runtime.session(this.weights.cached.dir, `mlp.${l}.${frozen ? 'frozen' : 'full'}.${this.variant}`, () =>
      mlpGraph(this.weights, l, this.perLayer[l], this.contract.center_writing_weights, frozen),
    );
  }

  /** Checks token ids and length. Throws UsageError. */
  checkTokens(tokens: readonly number[]): void {
    if (tokens.length === 0) throw new UsageError('the prompt is empty: give at least one token');
    if (tokens.length > this.config.n_ctx) {
      throw new UsageError(`the prompt has ${tokens.length} tokens; the model's context holds ${this.config.n_ctx}`);
    }
    tokens.forEach((t, i) => {
      if (!Number.isInteger(t) || t < 0 || t >= this.config.d_vocab) {
        throw new UsageError(`token ${t} at position ${i} is outside the vocabulary (0 to ${this.config.d_vocab - 1})`);
      }
    });
  }

  /** `hook_embed` row of a token, in the contract's terms [d_model]. */
  embedding(token: number): Float32Array {
    const r = this.weights.embedding(token);
    return this.contract.center_writing_weights ? centreRows(r, r.length) : r;
  }

  /** `hook_pos_embed` row of a position, in the contract's terms [d_model]. */
  positionEmbedding(position: number): Float32Array {
    const r = this.weights.positionEmbedding(position);
    return this.contract.center_writing_weights ? centreRows(r, r.length) : r;
  }

  private embed(tokens: readonly number[], from: number): Float32Array {
    const d = this.config.d_model;
    const out = new Float32Array((tokens.length - from) * d);
    for (let i = from; i < tokens.length; i++) {
      const target = row(out, i - from, d);
      target.set(this.embedding(tokens[i]));
      addScaled(target, 1, this.positionEmbedding(i));
    }
    return out;
  }

  private async attend(l: number, x: Float32Array, past: LayerTrace | null, P: number): Promise<Partial<LayerTrace>> {
    const { d_model: d, n_heads, d_head } = this.config;
    const T = x.length / d;
    const mask = new Float32Array(T * (P + T));
    for (let r = 0; r < T; r++) mask.fill(MASKED, r * (P + T) + P + r + 1, (r + 1) * (P + T));
    const session = await this.attention(l, P > 0 ? 'suffix' : 'full');
    const feeds: Feeds = { hook_resid_pre: { data: x, dims: [T, d] }, mask: { data: mask, dims: [T, P + T] } };
    if (past && P > 0) {
      feeds.past_k = { data: headRows(past.k, n_heads, P, d_head), dims: [n_heads, P, d_head] };
      feeds.past_v = { data: headRows(past.v, n_heads, P, d_head), dims: [n_heads, P, d_head] };
    }
    const out = await session.run(feeds, ['ln1_scale', 'hook_k', 'hook_v', 'hook_pattern', 'hook_z']);
    return {
      resid_pre: x,
      ln1_scale: floats(out, 'ln1_scale'),
      k: floats(out, 'hook_k'),
      v: floats(out, 'hook_v'),
      pattern: floats(out, 'hook_pattern'),
      z: floats(out, 'hook_z'),
    };
  }

  private async attendFrozen(
    l: number,
    x: Float32Array,
    clean: LayerTrace,
    pattern = clean.pattern,
  ): Promise<Partial<LayerTrace>> {
    const { d_model: d, n_heads } = this.config;
    const S = x.length / d;
    const session = await this.attention(l, 'frozen');
    const out = await session.run(
      {
        hook_resid_pre: { data: x, dims: [S, d] },
        scale: { data: clean.ln1_scale, dims: [S, 1] },
        pattern: { data: pattern, dims: [n_heads, S, S] },
      },
      ['hook_v', 'hook_z'],
    );
    return {
      resid_pre: x,
      ln1_scale: clean.ln1_scale,
      k: clean.k,
      pattern: clean.pattern,
      v: floats(out, 'hook_v'),
      z: floats(out, 'hook_z'),
    };
  }

  private async finish(
    l: number,
    part: Partial<LayerTrace>,
    frozen: LayerTrace | null,
  ): Promise<{ layer: LayerTrace; resid_post: Float32Array }> {
    const d = this.config.d_model;
    const x = part.resid_pre as Float32Array;
    const T = x.length / d;
    const session = await this.mlp(l, frozen !== null);
    const feeds = { hook_resid_pre: { data: x, dims: [T, d] }, hook_z: { data: part.z as Float32Array, dims: [T, d] } };
    const names = ['hook_attn_out', 'hook_resid_mid', 'ln2_normalized', 'hook_mlp_out', 'hook_resid_post'];
    const out = frozen
      ? await session.run({ ...feeds, scale: { data: frozen.ln2_scale, dims: [T, 1] } }, names)
      : await session.run(feeds, [...names, 'ln2_scale']);
    const layer: LayerTrace = {
      ...(part as LayerTrace),
      attn_out: floats(out, 'hook_attn_out'),
      resid_mid: floats(out, 'hook_resid_mid'),
      ln2_scale: frozen ? frozen.ln2_scale : floats(out, 'ln2_scale'),
      ln2_normalized: floats(out, 'ln2_normalized'),
      mlp_out: floats(out, 'hook_mlp_out'),
    };
    return { layer, resid_post: floats(out, 'hook_resid_post') };
  }

  /**
   * Runs the model on token ids [S]. Positions that `previous` shares from the start are not computed again (causality).
   * Throws UsageError for ids or lengths the model does not have, CancelledError, RuntimeFailure.
   */
  async forward(tokens: readonly number[], previous?: Trace, signal?: AbortSignal): Promise<Trace> {
    this.checkTokens(tokens);
    const { n_layers, n_heads, d_model: d } = this.config;
    const S = tokens.length;
    let P = 0;
    if (previous) while (P < S - 1 && previous.tokens[P] === tokens[P]) P++;
    const suffix = this.embed(tokens, P);
    let x = suffix;
    const layers: LayerTrace[] = [];
    for (let l = 0; l < n_layers; l++) {
      throwIfCancelled(signal);
      const past = P > 0 && previous ? previous.layers[l] : null;
      const { layer, resid_post } = await this.finish(l, await this.attend(l, x, past, P), null);
      layers.push(past ? joinLayer(past, layer, P, S, n_heads, d) : layer);
      x = resid_post;
    }
    const join = (old: Float32Array | undefined, rest: Float32Array): Float32Array => {
      if (!old || P === 0) return rest;
      const out = new Float32Array(S * d);
      out.set(old.subarray(0, P * d));
      out.set(rest, P * d);
      return out;
    };
    return {
      tokens: [...tokens],
      contract: this.contract,
      embedded: join(previous?.embedded, suffix),
      layers,
      resid_post: join(previous?.resid_post, x),
    };
  }

  /**
   * Runs the model again with activations replaced by hooks. Layers before the first hook are taken from the clean trace.
   * Throws UsageError for a hook name the model does not have.
   */
  async runWithHooks(clean: Trace, hooks: Hooks, options: HookedRunOptions = {}): Promise<Trace> {
    const { n_layers } = this.config;
    for (const name of hooks.keys()) this.hookLayer(name);
    const apply = async (name: string, x: Float32Array, context: HookContext): Promise<Float32Array> => {
      const hook = hooks.get(name);
      return hook ? hook(x, context) : x;
    };
    const embedded = await apply('hook_embed', clean.embedded, { layer: 0 });
    const first = Math.min(n_layers, ...[...hooks.keys()].map((n) => this.hookLayer(n)));
    const layers = clean.layers.slice(0, Math.max(0, first));
    let x = first > 0 ? (clean.layers[first]?.resid_pre ?? clean.resid_post) : embedded;
    for (let l = Math.max(0, first); l < n_layers; l++) {
      throwIfCancelled(options.signal);
      x = await apply(`blocks.${l}.hook_resid_pre`, x, { layer: l });
      const result = await this.hookedLayer(l, x, clean, apply, options);
      layers.push(result.layer);
      x = await apply(`blocks.${l}.hook_resid_post`, result.resid_post, { layer: l });
    }
    return { tokens: clean.tokens, contract: clean.contract, embedded, layers, resid_post: x };
  }

  private async hookedLayer(
    l: number,
    x: Float32Array,
    clean: Trace,
    apply: (name: string, x: Float32Array, context: HookContext) => Promise<Float32Array>,
    options: HookedRunOptions,
  ): Promise<{ layer: LayerTrace; resid_post: Float32Array }> {
    const frozen = options.frozen ? clean.layers[l] : null;
    const part = frozen ? await this.attendFrozen(l, x, frozen) : await this.attend(l, x, null, 0);
    part.z = await apply(`blocks.${l}.attn.hook_z`, part.z as Float32Array, { layer: l });
    let { layer, resid_post } = await this.finish(l, part, frozen);
    const attn_out = await apply(`blocks.${l}.hook_attn_out`, layer.attn_out, { layer: l });
    if (attn_out !== layer.attn_out) {
      const shifted = Float32Array.from(x, (v, i) => v + attn_out[i] - layer.attn_out[i]);
      ({ layer, resid_post } = await this.finish(l, { ...part, resid_pre: shifted }, frozen));
      layer = { ...layer, resid_pre: x, attn_out };
    }
    const mlp_out = await apply(`blocks.${l}.hook_mlp_out`, layer.mlp_out, {
      layer: l,
      ln2_normalized: layer.ln2_normalized,
    });
    if (mlp_out !== layer.mlp_out) {
      resid_post = Float32Array.from(layer.resid_mid, (v, i) => v + mlp_out[i]);
      layer = { ...layer, mlp_out };
    }
    return { layer, resid_post };
  }

  /** Layer a hook belongs to, 0 for `hook_embed`. Throws UsageError for a name that cannot be hooked. */
  private hookLayer(name: string): number {
    if (name === 'hook_embed') return 0;
    const m = /^blocks\.(\d+)\.(hook_resid_pre|attn\.hook_z|hook_attn_out|hook_mlp_out|hook_resid_post)$/.exec(name);
    const layer = m ? Number(m[1]) : NaN;
    if (!(layer < this.config.n_layers)) {
      throw new UsageError(`the model has no hook point ${name} that can be replaced (${this.config.n_layers} layers)`);
    }
    return layer;
  }

  /**
   * `hook_v` [n_heads, S, d_head] and `hook_z` [S, d_model] of a layer with the clean LayerNorm scale, for another input stream
   * [S, d_model] or another pattern [n_heads, S, S].
   */
  async frozenAttention(
    l: number,
    clean: Trace,
    change: { resid_pre?: Float32Array; pattern?: Float32Array },
  ): Promise<{ v: Float32Array; z: Float32Array }> {
    const layer = clean.layers[l];
    const out = await this.attendFrozen(l, change.resid_pre ?? layer.resid_pre, layer, change.pattern);
    return { v: out.v as Float32Array, z: out.z as Float32Array };
  }

  /** `hook_k`, `hook_v` and `hook_pattern` of a layer for another input stream [S, d_model], LayerNorm recomputed. */
  async attentionOf(
    l: number,
    resid_pre: Float32Array,
  ): Promise<Pick<LayerTrace, 'k' | 'v' | 'pattern' | 'ln1_scale'>> {
    const { k, v, pattern, ln1_scale } = (await this.attend(l, resid_pre, null, 0)) as LayerTrace;
    return { k, v, pattern, ln1_scale };
  }

  /** `hook_attn_out` [S, d_model] that a `hook_z` [S, d_model] gives. */
  async attentionOutput(l: number, z: Float32Array, clean: Trace): Promise<Float32Array> {
    return (await this.finish(l, { resid_pre: clean.layers[l].resid_pre, z }, clean.layers[l])).layer.attn_out;
  }

  /** `ln2_normalized` and `hook_mlp_out` of a layer for another `hook_resid_mid` [S, d_model], the LayerNorm scale held. */
  async frozenNormalized(l: number, resid_mid: Float32Array, clean: Trace): Promise<Float32Array> {
    const zero = new Float32Array(resid_mid.length);
    const attn_out = (await this.finish(l, { resid_pre: zero, z: zero }, clean.layers[l])).layer.attn_out;
    const x = Float32Array.from(resid_mid, (v, i) => v - attn_out[i]);
    return (await this.finish(l, { resid_pre: x, z: zero }, clean.layers[l])).layer.ln2_normalized;
  }

  /**
   * Logits of some rows [n, d_model] of the last `hook_resid_post`: [n, d_vocab] minus their vocabulary mean where the contract
   * centres, and `ln_final.hook_scale` [n]. A given `scale` [n] is held instead of computed.
   */
  async unembed(rows: Float32Array, scale?: Float32Array): Promise<{ logits: Float32Array; scale: Float32Array }> {
    const d = this.config.d_model;
    const n = rows.length / d;
    const session = await this.runtime.session(this.weights.cached.dir, scale ? 'unembed.frozen' : 'unembed.full', () =>
      unembedGraph(this.weights, scale !== undefined),
    );
    const feeds = { hook_resid_post: { data: rows, dims: [n, d] } };
    const out = scale
      ? await session.run({ ...feeds, scale: { data: scale, dims: [n, 1] } }, ['logits'])
      : await session.run(feeds, ['logits', 'ln_final_scale']);
    const logits = floats(out, 'logits');
    const V = this.config.d_vocab;
    if (this.contract.center_unembed) {
      for (let r = 0; r < n; r++) {
        const m = mean(logits, V, r * V);
        for (let i = r * V; i < (r + 1) * V; i++) logits[i] -= m;
      }
    }
    return { logits, scale: scale ?? floats(out, 'ln_final_scale') };
  }

  /** rows [n, d_model] in z space times W_O, centred where the contract centres: what they write to the stream. */
  async project(l: number, rows: Float32Array): Promise<Float32Array> {
    const d = this.config.d_model;
    const n = rows.length / d;
    if (n === 0) return new Float32Array();
    const centred = this.contract.center_writing_weights;
    const session = await this.runtime.session(this.weights.cached.dir, `project.${l}.${Number(centred)}`, () =>
      projectGraph(this.weights, l, centred),
    );
    return floats(await session.run({ rows: { data: rows, dims: [n, d] } }, ['written']), 'written');
  }
}
