import { type PromptState, type SiteWrites } from '../attribution';
import { type Dictionary, type FeatureActs, joinActs } from '../dictionaries';
import { type Contract, type Gpt2, type LayerConstants, type ModelWeights, type Trace } from '../model';
import { type Tokenizer } from '../tokenizer';

/** A dictionary's view of one prompt. */
interface SiteData {
  acts: Promise<FeatureActs>;
  recon?: Promise<Float32Array>;
  writes: Map<number, Promise<SiteWrites>>;
}

/** One analysed prompt: the trace, and what has been computed from it so far. Everything is computed once, on demand. */
export class PromptRun implements PromptState {
  private readonly sites = new Map<string, SiteData>();
  private readonly logits = new Map<number, Promise<{ logits: Float32Array; scale: number }>>();

  constructor(
    private readonly model: Gpt2,
    private readonly dictionaries: ReadonlyMap<string, Dictionary>,
    private readonly tokenizer: Tokenizer | null,
    readonly trace: Trace,
    /** A run whose first positions are the same, to take activations from. It forgets its own predecessor. */
    private previous?: { run: PromptRun; shared: number },
  ) {
    if (previous) previous.run.previous = undefined;
  }

  get contract(): Contract {
    return this.model.contract;
  }

  get weights(): ModelWeights {
    return this.model.weights;
  }

  constants(layer: number): LayerConstants {
    return this.model.constants(layer);
  }

  dictionary(site: string): Dictionary | undefined {
    return this.dictionaries.get(site);
  }

  embedding(position: number): Float32Array {
    return this.model.embedding(this.trace.tokens[position]);
  }

  positionEmbedding(position: number): Float32Array {
    return this.model.positionEmbedding(position);
  }

  tokenText(position: number): string | null {
    return this.vocabularyText(this.trace.tokens[position]);
  }

  vocabularyText(id: number): string | null {
    return this.tokenizer?.text(id) ?? null;
  }

  private need(site: string): Dictionary {
    const d = this.dictionaries.get(site);
    if (!d) throw new Error(`no dictionary on ${site}`);
    return d;
  }

  siteInput(site: string): Float32Array {
    return siteInput(this.trace, this.need(site));
  }

  /** What the dictionary's reconstruction stands for: its input, or `hook_mlp_out` for transcoders. [S, d_out] */
  siteTarget(site: string): Float32Array {
    return siteTarget(this.trace, this.need(site));
  }

  private site(site: string): SiteData {
    let data = this.sites.get(site);
    if (!data) {
      data = { acts: this.encode(site), writes: new Map() };
      this.sites.set(site, data);
    }
    return data;
  }

  private async encode(site: string): Promise<FeatureActs> {
    const d = this.need(site);
    const x = this.siteInput(site);
    const shared = this.previous?.run.sites.has(site) ? this.previous.shared : 0;
    if (!this.previous || shared === 0) return d.encode(x);
    const old = await this.previous.run.acts(site);
    return joinActs(old, shared, await d.encode(x.subarray(shared * d.config.d_in)));
  }

  acts(site: string): Promise<FeatureActs> {
    return this.site(site).acts;
  }

  /** Reconstruction of a site, [S, d_out]. */
  recon(site: string): Promise<Float32Array> {
    const data = this.site(site);
    data.recon ??= data.acts.then((acts) => this.need(site).decode(acts, this.siteInput(site)));
    return data.recon;
  }

  /** |x − x̂| / |x| at each position. */
  async reconstructionErrors(site: string): Promise<number[]> {
    const target = this.siteTarget(site);
    const recon = await this.recon(site);
    const S = this.trace.tokens.length;
    const d = target.length / S;
    return Array.from({ length: S }, (_, s) => {
      let error = 0;
      let size = 0;
      for (let i = s * d; i < (s + 1) * d; i++) {
        error += (target[i] - recon[i]) ** 2;
        size += target[i] ** 2;
      }
      return size === 0 ? 0 : Math.sqrt(error / size);
    });
  }

  writes(site: string, position: number): Promise<SiteWrites> {
    const { writes } = this.site(site);
    let w = writes.get(position);
    if (!w) {
      w = this.computeWrites(site, position);
      writes.set(position, w);
    }
    return w;
  }

  private async computeWrites(site: string, position: number): Promise<SiteWrites> {
    const dictionary = this.need(site);
    const acts = await this.acts(site);
    const target = this.siteTarget(site);
    const { d_in, d_out } = dictionary.config;
    const features = acts.features.subarray(acts.offsets[position], acts.offsets[position + 1]);
    const activations = acts.activations.subarray(acts.offsets[position], acts.offsets[position + 1]);
    const n = features.length;
    const rows = await dictionary.writes(features, activations, new Int32Array(n).fill(position), acts.norms);
    const bias = dictionary.biasWrite(acts.norms[position]);
    const skip = dictionary.skipWrite(this.siteInput(site), position * d_in);
    const error = Float64Array.from(
      { length: d_out },
      (_, i) => target[position * d_out + i] - bias[i] - (skip?.[i] ?? 0),
    );
    for (let i = 0; i < n; i++) for (let j = 0; j < d_out; j++) error[j] -= rows[i * d_out + j];
    const own = { features, activations };
    const skipRow = skip && Float32Array.from(skip);
    if (dictionary.kind !== 'attention') {
      return { ...own, rows, bias: Float32Array.from(bias), error: Float32Array.from(error), skip: skipRow };
    }
    const stacked = new Float32Array((n + 2) * d_out);
    stacked.set(rows);
    stacked.set(bias, n * d_out);
    stacked.set(error, (n + 1) * d_out);
    const written = await this.model.project(dictionary.layer, stacked);
    const d = this.weights.config.d_model;
    return {
      ...own,
      rows: written.subarray(0, n * d),
      bias: written.subarray(n * d, (n + 1) * d),
      error: written.subarray((n + 1) * d),
      skip: null,
    };
  }

  logitsAt(position: number): Promise<{ logits: Float32Array; scale: number }> {
    let l = this.logits.get(position);
    if (!l) {
      const d = this.weights.config.d_model;
      l = this.model
        .unembed(this.trace.resid_post.slice(position * d, (position + 1) * d))
        .then(({ logits, scale }) => ({ logits, scale: scale[0] }));
      this.logits.set(position, l);
    }
    return l;
  }
}

/** What a dictionary reads in a trace: [S, d_in]. */
export function siteInput(trace: Trace, d: Dictionary): Float32Array {
  const layer = trace.layers[d.layer];
  if (d.kind === 'attention') return layer.z;
  if (d.kind === 'transcoder') return layer.ln2_normalized;
  return residual(trace, d);
}

/** What a dictionary's reconstruction stands for in a trace: [S, d_out]. */
export function siteTarget(trace: Trace, d: Dictionary): Float32Array {
  return d.kind === 'transcoder' ? trace.layers[d.layer].mlp_out : siteInput(trace, d);
}

function residual(trace: Trace, d: Dictionary): Float32Array {
  if (d.site.endsWith('hook_resid_pre')) return trace.layers[d.layer].resid_pre;
  return trace.layers[d.layer + 1]?.resid_pre ?? trace.resid_post;
}
