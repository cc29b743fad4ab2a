import { type DictionaryFolder } from '../formats';
import { norm } from '../maths';
import { type CachedWeights, type ImportOptions, openCached } from '../store';

const FEATURE_BLOCK = 2048;

/**
 * Imports a dictionary: encoder feature-major (`W_encT` [d_sae, d_in], so that a feature's column is one row) beside the decoder.
 *
 * Also stored: `c` [d_sae], the constant of each pre-activation (b_enc − b_dec·w, or b_mag − e^r·b_dec·w for gated; the second
 * term only with apply_b_dec_to_input), in double until stored; `rowScale` [d_sae] where the pre-activation scales w (e^r gated,
 * ‖d‖ TopK with rescaling); `decScale` [d_sae] = 1/‖d‖ likewise; `gate` [d_sae] = b_gate − b_dec·w; `threshold`; `W_skip`.
 */
export function importDictionary(folder: DictionaryFolder, options: ImportOptions): Promise<CachedWeights> {
  const { config: c, weights } = folder;
  const { d_in, d_sae, d_out } = c;
  return openCached(
    'dictionary',
    folder.files,
    async (w) => {
      const W_enc = weights.read('W_enc');
      const b_dec = weights.read('b_dec');
      const W_dec = weights.read('W_dec');
      const inputBias = new Float64Array(d_sae);
      w.begin('W_encT', [d_sae, d_in]);
      for (let start = 0; start < d_sae; start += FEATURE_BLOCK) {
        const n = Math.min(FEATURE_BLOCK, d_sae - start);
        const block = new Float32Array(n * d_in);
        for (let i = 0; i < d_in; i++) {
          for (let f = 0, o = i * d_sae + start; f < n; f++) block[f * d_in + i] = W_enc[o + f];
          if (c.apply_b_dec_to_input)
            for (let f = 0, o = i * d_sae + start; f < n; f++) inputBias[start + f] += b_dec[i] * W_enc[o + f];
        }
        await w.append(block);
      }
      w.end();
      await w.put('W_dec', [d_sae, d_out], W_dec);
      await w.put('b_dec', [d_out], b_dec);
      let rowScale: Float32Array | null = null;
      let offset: Float32Array;
      if (c.architecture === 'gated') {
        rowScale = weights.read('r_mag').map(Math.exp);
        offset = weights.read('b_mag');
        const gate = weights.read('b_gate');
        await w.put(
          'gate',
          [d_sae],
          gate.map((b, f) => b - inputBias[f]),
        );
      } else {
        offset = weights.read('b_enc');
        if (c.architecture === 'topk' && c.rescale_acts_by_decoder_norm) {
          rowScale = Float32Array.from({ length: d_sae }, (_, f) => norm(W_dec, d_out, f * d_out));
          await w.put(
            'decScale',
            [d_sae],
            rowScale.map((n) => 1 / n),
          );
        }
      }
      const scale = rowScale;
      const gated = c.architecture === 'gated';
      await w.put(
        'c',
        [d_sae],
        offset.map((b, f) => {
          if (!scale) return b - inputBias[f];
          return gated ? b - scale[f] * inputBias[f] : scale[f] * (b - inputBias[f]);
        }),
      );
      if (scale) await w.put('rowScale', [d_sae], scale);
      if (c.architecture === 'jumprelu') await w.put('threshold', [d_sae], weights.read('threshold'));
      if (c.skip) await w.put('W_skip', [d_out, d_in], weights.read('W_skip'));
    },
    options,
  );
}
