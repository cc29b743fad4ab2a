import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { given, type TensorSource, writeSafetensors } from '../../bench/synthetic/files';
import { Engine } from '../../server/src/engine';

/** Tokens, positions, heads and widths of the hand-built model. Token 0 is BOS. */
export const V = 24;
const P = 20;
const D_HEAD = 24;
const HEADS = 3;
const D = D_HEAD * HEADS;
/** Where each kind of information lies in the stream. */
const [TOK, POS, PREV] = [0, V, V + P];
const EPS = 1e-5;

/** Squared norms of a centred one-hot vector of tokens and of positions: the stream's norm is the same for every prompt. */
const [TOKEN, POSITION] = [1 - 1 / V, 1 - 1 / P];
/** LayerNorm scales before layer 0 and layer 1. */
export const SIGMA = [Math.sqrt((TOKEN + POSITION) / D + EPS), Math.sqrt((2 * TOKEN + POSITION) / D + EPS)];
/** How much larger a matching score is than any other: layer 0 without leak, layer 1 so that its pattern can still be read. */
export const GAP = [400, 12];
/** What induction writes, in units of an embedding. */
export const STRENGTH = 3;

const matrix = (rows: number, columns: number, at: (r: number, c: number) => number): TensorSource =>
  given(
    [rows, columns],
    Float32Array.from({ length: rows * columns }, (_, i) => at(Math.floor(i / columns), i % columns)),
  );
const zeros = (...shape: number[]): TensorSource => given(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)));
const ones = (n: number): TensorSource => given([n], new Float32Array(n).fill(1));

/** q, k and v of head 0, as a function of the stream's dimension and the head's; other heads are zero. */
type Reads = [
  q: (i: number, j: number) => number,
  k: (i: number, j: number) => number,
  v: (i: number, j: number) => number,
];

const qkv = (reads: Reads): TensorSource =>
  matrix(D, 3 * D, (i, c) => {
    const j = c % D;
    return j < D_HEAD ? reads[Math.floor(c / D)](i, j) : 0;
  });

/** Both layers copy the token of the source; layer 0 attends to the position before, layer 1 to where the own token came before. */
function attention(layer: number): { reads: Reads; out: TensorSource } {
  const sharp = GAP[layer] * SIGMA[layer] ** 2 * Math.sqrt(D_HEAD);
  const token = (i: number, j: number): number => Number(j < V && i === TOK + j);
  const reads: Reads =
    layer === 0
      ? [
          (i, j) => (j < P && i === POS + j + 1 && i < PREV ? sharp : 0),
          (i, j) => Number(j < P && i === POS + j),
          token,
        ]
      : [(i, j) => sharp * token(i, j), (i, j) => Number(j < V && i === PREV + j), token];
  const [to, scale] = layer === 0 ? [PREV, SIGMA[0]] : [TOK, STRENGTH * SIGMA[1]];
  return { reads, out: matrix(D, D, (r, c) => (r < V && c === to + r ? scale : 0)) };
}

function writeWeights(dir: string): void {
  mkdirSync(dir, { recursive: true });
  const shape = { n_layer: 2, n_head: HEADS, n_embd: D, n_positions: P, vocab_size: V, bos_token_id: 0 };
  const config = { model_type: 'gpt2', activation_function: 'gelu_new', layer_norm_epsilon: EPS, ...shape };
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
  const centred =
    (from: number, n: number) =>
    (r: number, c: number): number =>
      c >= from && c < from + n ? Number(c === from + r) - 1 / n : 0;
  const t: Record<string, TensorSource> = {
    'wte.weight': matrix(V, D, centred(TOK, V)),
    'wpe.weight': matrix(P, D, centred(POS, P)),
    'ln_f.weight': ones(D),
    'ln_f.bias': zeros(D),
  };
  for (const l of [0, 1]) {
    const { reads, out } = attention(l);
    Object.assign(t, {
      [`h.${l}.ln_1.weight`]: ones(D),
      [`h.${l}.ln_1.bias`]: zeros(D),
      [`h.${l}.attn.c_attn.weight`]: qkv(reads),
      [`h.${l}.attn.c_attn.bias`]: zeros(3 * D),
      [`h.${l}.attn.c_proj.weight`]: out,
      [`h.${l}.attn.c_proj.bias`]: zeros(D),
      [`h.${l}.ln_2.weight`]: ones(D),
      [`h.${l}.ln_2.bias`]: zeros(D),
      [`h.${l}.mlp.c_fc.weight`]: zeros(D, 4 * D),
      [`h.${l}.mlp.c_fc.bias`]: zeros(4 * D),
      [`h.${l}.mlp.c_proj.weight`]: zeros(4 * D, D),
      [`h.${l}.mlp.c_proj.bias`]: zeros(D),
    });
  }
  writeSafetensors(join(dir, 'model.safetensors'), t);
}

/** A dictionary whose feature t says "the head moved token t"; it reconstructs a moved token exactly. */
function writeMoved(dir: string, layer: number): void {
  mkdirSync(dir, { recursive: true });
  const metadata = { sae_lens_version: '6.18.0', model_name: 'gpt2', hook_name: `blocks.${layer}.attn.hook_z` };
  const shape = {
    architecture: 'standard',
    d_in: D,
    d_sae: V,
    normalize_activations: 'none',
    apply_b_dec_to_input: true,
  };
  writeFileSync(join(dir, 'cfg.json'), JSON.stringify({ ...shape, metadata }));
  writeSafetensors(join(dir, 'sae_weights.safetensors'), {
    W_enc: matrix(D, V, (i, f) => Number(i === f)),
    W_dec: matrix(V, D, (f, i) => (i < V ? (Number(i === f) - 1 / V) / TOKEN : 0)),
    b_enc: zeros(V),
    b_dec: zeros(D),
  });
}

/**
 * An attention-only model built by hand: head 0.0 moves each token to the position after it, head 1.0 looks where the present token was the one
 * before and copies what stood there. Everything about it can be written down, so trees, QK and ablations have known answers.
 */
export async function inductionEngine(): Promise<{ engine: Engine; close: () => Promise<void> }> {
  const dir = mkdtempSync(join(tmpdir(), 'attention-circuits-induction-'));
  writeWeights(join(dir, 'model'));
  for (const l of [0, 1]) writeMoved(join(dir, `moved-${l}`), l);
  const dictionaries = [0, 1].map((l) => join(dir, `moved-${l}`));
  const engine = await Engine.open({ model: join(dir, 'model'), dictionaries, contract: 'default', provider: 'cpu' });
  return {
    engine,
    close: async () => {
      await engine.close();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
