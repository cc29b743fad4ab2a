import { UsageError } from '../errors';
import { findPath, type Opening, type RootSpec, type TreeNode } from '../attribution';
import { IDENTITY_NORM, type RowNorm, rowNorm } from '../dictionaries';
import { type Engine, type PromptRun, siteInput } from '../engine';
import { dot } from '../maths';
import { type Hook, type Trace } from '../model';
import { outputHook } from './interventions';

/** The parent's value before and after an intervention. */
export interface Change {
  before: number;
  after: number;
  change: number;
}

/** An edge's prediction beside what the model does (interface: "validate"). */
export interface Validation {
  edge: string;
  parent: string;
  /** The edge's contribution; its removal is predicted to change the parent's value by minus this. */
  predicted: number;
  direct: Change;
  frozen: Change;
  free: Change;
}

type AttentionOpening = Extract<Opening, { type: 'attention' }>;
type StreamOpening = Extract<Opening, { type: 'stream' }>;

const change = (before: number, after: number): Change => ({ before, after, change: after - before });

function minusRow(x: Float32Array, u: ArrayLike<number>, position: number): Float32Array {
  const out = x.slice();
  for (let i = 0; i < u.length; i++) out[position * u.length + i] -= u[i];
  return out;
}

/** Constants of the reader itself: nothing writes them, so removing one takes it off the value at every level. */
const isReaderConstant = (n: TreeNode): boolean =>
  n.kind === 'bias' && ['c_f', 'b_U', 'value-bias'].includes(n.name ?? '');

/** Checks one edge of a tree against the model. Reads activations and runs graphs; uses no attribution but the prediction. */
class EdgeCheck {
  constructor(
    private readonly engine: Engine,
    private readonly run: PromptRun,
    private readonly path: TreeNode[],
  ) {}

  private get edge(): TreeNode {
    return this.path[this.path.length - 1];
  }

  private get parent(): TreeNode {
    return this.path[this.path.length - 2];
  }

  private get d(): number {
    return this.engine.model.config.d_model;
  }

  /** The opening through which the node's own value is read: that of its parent in the tree. */
  private async readerOf(node: TreeNode): Promise<Opening> {
    const above = this.path[this.path.indexOf(node) - 1];
    const opening = await above?.open?.();
    if (!opening) throw new UsageError(`node ${node.id} has no parent that reads it`);
    return opening;
  }

  private dfaAt(
    o: AttentionOpening,
    source: number,
    head: number | undefined,
    v: Float32Array,
    pattern: Float32Array,
  ): number {
    const { n_heads, d_head } = this.engine.model.config;
    const S = this.run.trace.tokens.length;
    let sum = 0;
    for (let h = 0; h < n_heads; h++) {
      if (head !== undefined && head !== h) continue;
      const a = pattern[(h * S + o.position) * S + source];
      sum += a * dot(o.direction, v, d_head, h * d_head, (h * S + source) * d_head);
    }
    return sum;
  }

  private norm(n: TreeNode, trace: Trace, frozen: boolean): RowNorm {
    const d = this.engine.dictionary(n.site ?? '');
    if (d.config.normalisation === 'none') return IDENTITY_NORM;
    const x = siteInput(frozen ? this.run.trace : trace, d);
    return rowNorm(d.config.normalisation, x, d.config.d_in, (n.position ?? 0) * d.config.d_in);
  }

  /** The parent's value in a run of the model. */
  private async measure(trace: Trace, frozen: boolean): Promise<number> {
    const n = this.parent;
    const position = n.position ?? 0;
    if (n.tokenIds && (n.kind === 'logit' || n.kind === 'logit-difference')) {
      const scale = frozen ? Float32Array.of((await this.run.logitsAt(position)).scale) : undefined;
      const { logits } = await this.engine.model.unembed(
        trace.resid_post.slice(position * this.d, (position + 1) * this.d),
        scale,
      );
      return n.tokenIds.length > 1 ? logits[n.tokenIds[0]] - logits[n.tokenIds[1]] : logits[n.tokenIds[0]];
    }
    if (n.feature !== undefined) {
      const d = this.engine.dictionary(n.site ?? '');
      return d.preActivation(n.feature, siteInput(trace, d), position * d.config.d_in, this.norm(n, trace, frozen));
    }
    const reader = await this.readerOf(n);
    if (reader.type === 'attention') {
      const layer = trace.layers[reader.layer];
      return this.dfaAt(reader, position, n.head, layer.v, layer.pattern);
    }
    return dot(reader.direction, trace.layers[n.layer ?? 0].attn_out, this.d, 0, position * this.d);
  }

  /** What the edge's source writes: at its own site's hook, and in stream terms. */
  private async source(): Promise<{ hook: string; own: Float32Array; stream: Float32Array }> {
    const n = this.edge;
    const position = n.position ?? 0;
    const at = (x: Float32Array): Float32Array => x.slice(position * this.d, (position + 1) * this.d);
    const plain = (hook: string, v: Float32Array): { hook: string; own: Float32Array; stream: Float32Array } => ({
      hook,
      own: v,
      stream: v,
    });
    if (n.kind === 'token-embedding') return plain('hook_embed', this.run.embedding(position));
    if (n.kind === 'position-embedding') return plain('hook_embed', this.run.positionEmbedding(position));
    if (n.kind === 'attn')
      return plain(`blocks.${n.layer}.hook_attn_out`, at(this.run.trace.layers[n.layer ?? 0].attn_out));
    if (n.kind === 'mlp')
      return plain(`blocks.${n.layer}.hook_mlp_out`, at(this.run.trace.layers[n.layer ?? 0].mlp_out));
    if (n.name === 'b_O')
      return plain(`blocks.${n.layer}.hook_attn_out`, Float32Array.from(this.run.constants(n.layer ?? 0).b_O));
    const d = this.engine.dictionary(n.site ?? '');
    const w = await this.run.writes(d.site, position);
    const acts = await this.run.acts(d.site);
    let own: Float32Array;
    let stream: Float32Array;
    if (n.feature !== undefined) {
      const i = w.features.indexOf(n.feature);
      stream = w.rows.slice(i * this.d, (i + 1) * this.d);
      own = await d.writes(
        Int32Array.of(n.feature),
        w.activations.slice(i, i + 1),
        Int32Array.of(position),
        acts.norms,
      );
    } else if (n.kind === 'bias') {
      stream = w.bias;
      own = Float32Array.from(d.biasWrite(acts.norms[position]));
    } else if (n.kind === 'skip') {
      stream = own = w.skip as Float32Array;
    } else {
      stream = w.error;
      const recon = await this.run.recon(d.site);
      own = at(Float32Array.from(this.run.siteTarget(d.site), (x, i) => x - recon[i]));
    }
    return { hook: outputHook(d), own, stream };
  }

  /** The parent's value with u taken out of the stream that it reads, all else clean. */
  private async withoutInput(o: StreamOpening, u: Float32Array): Promise<number> {
    const { model } = this.engine;
    const n = this.parent;
    const { trace } = this.run;
    const p = o.position;
    if (n.kind === 'source-token' || n.kind === 'head-source') {
      const reader = (await this.readerOf(n)) as AttentionOpening;
      const resid_pre = minusRow(trace.layers[reader.layer].resid_pre, u, p);
      const { v } = await model.frozenAttention(reader.layer, trace, { resid_pre });
      return this.dfaAt(reader, p, n.head, v, trace.layers[reader.layer].pattern);
    }
    if (n.kind === 'transcoder-feature') {
      const layer = n.layer ?? 0;
      const x = await model.frozenNormalized(layer, minusRow(trace.layers[layer].resid_mid, u, p), trace);
      return this.engine
        .dictionary(n.site ?? '')
        .preActivation(n.feature ?? 0, x, p * this.d, this.norm(n, trace, true));
    }
    if (n.kind === 'residual-feature') {
      const d = this.engine.dictionary(n.site ?? '');
      return d.preActivation(
        n.feature ?? 0,
        minusRow(siteInput(trace, d), u, p),
        p * this.d,
        this.norm(n, trace, true),
      );
    }
    return this.measure({ ...trace, resid_post: minusRow(trace.resid_post, u, p) }, true);
  }

  /** The parent's value with the attention of one source (and head) knocked out of the parent's own row. */
  private async withoutSource(o: AttentionOpening): Promise<number> {
    const { model } = this.engine;
    const { n_heads } = model.config;
    const { trace } = this.run;
    const S = trace.tokens.length;
    const pattern = trace.layers[o.layer].pattern.slice();
    for (let h = 0; h < n_heads; h++) {
      if (this.edge.head === undefined || this.edge.head === h)
        pattern[(h * S + o.position) * S + (this.edge.position ?? 0)] = 0;
    }
    const { z } = await model.frozenAttention(o.layer, trace, { pattern });
    const layers = trace.layers.slice();
    layers[o.layer] = { ...layers[o.layer], z, attn_out: await model.attentionOutput(o.layer, z, trace) };
    return this.measure({ ...trace, layers }, true);
  }

  async check(): Promise<Validation> {
    const before = await this.measure(this.run.trace, true);
    const opening = (await this.parent.open?.()) as Opening;
    const result = { edge: this.edge.id, parent: this.parent.id, predicted: this.edge.contribution };
    if (isReaderConstant(this.edge)) {
      const c = change(before, before - this.edge.contribution);
      return { ...result, direct: c, frozen: c, free: c };
    }
    if (opening.type === 'attention') {
      const after = this.edge.kind === 'bias' ? before - this.edge.contribution : await this.withoutSource(opening);
      const c = change(before, after);
      return { ...result, direct: c, frozen: c, free: c };
    }
    const { hook, own, stream } = await this.source();
    const remove: Hook = (x) => minusRow(x, own, this.edge.position ?? 0);
    const rerun = async (frozen: boolean): Promise<Change> => {
      const trace = await this.engine.model.runWithHooks(this.run.trace, new Map([[hook, remove]]), { frozen });
      return change(await this.measure(this.run.trace, frozen), await this.measure(trace, frozen));
    };
    return {
      ...result,
      direct: change(before, await this.withoutInput(opening, stream)),
      frozen: await rerun(true),
      free: await rerun(false),
    };
  }
}

/**
 * Checks the edge from a node to its parent by running the model with the source removed: from the stream that the parent reads
 * (direct), at its own site with patterns and scales held (frozen), and at its own site with everything recomputed (free).
 * For a source token the site is the head's value input, so the three are one. Throws UsageError for ids that do not exist.
 */
export async function validateEdge(engine: Engine, run: PromptRun, root: RootSpec, edge: string): Promise<Validation> {
  const path = await findPath(run, root, edge);
  if (path.length < 2)
    throw new UsageError(`${edge} is the root: an edge is named by the id of its upper end, a node below the root`);
  return new EdgeCheck(engine, run, path).check();
}
