import { type Command } from 'commander';
import { openDictionary } from '../../dictionaries';
import { UsageError } from '../../errors';
import { findDictionaries } from '../../formats';
import { chooseProvider, type ProviderChoice, Runtime } from '../../runtime';
import { type Context, importProgress, withOutput } from '../common';
import { notice, writeJson, writeText } from '../output';
import { readRows } from '../parse';

/** `encode`: one dictionary by itself, no model involved. */
export function addEncode(program: Command, context: Context): void {
  withOutput(program.command('encode'))
    .description('feature activations and reconstruction of one dictionary by itself')
    .requiredOption('--sae <path>', 'the dictionary')
    .requiredOption('--input <file>', 'JSON file {"x": [[…], …]}, rows that the dictionary sees')
    .action(async (o: { sae: string; input: string; provider: ProviderChoice; json?: boolean }) => {
      const folders = findDictionaries(o.sae);
      if (folders.length > 1) throw new UsageError(`${o.sae} holds ${folders.length} dictionaries; give one`);
      const decision = await chooseProvider(o.provider);
      for (const r of decision.reasons) notice(`provider ${decision.provider}; passed over ${r}`);
      const runtime = new Runtime(decision.provider);
      const { onImport, end } = importProgress();
      const onProgress = (done: number, total: number): void => onImport(folders[0], done, total);
      const dictionary = await openDictionary(folders[0], runtime, { onProgress, signal: context.signal }).finally(end);
      try {
        const { d_in, d_sae, d_out } = dictionary.config;
        const x = readRows(o.input, d_in);
        const acts = await dictionary.encode(x);
        const decoded = await dictionary.decode(acts, x);
        const rows = acts.offsets.length - 1;
        const feature_acts = Array.from({ length: rows }, (_, r) => {
          const dense = new Float32Array(d_sae);
          for (let i = acts.offsets[r]; i < acts.offsets[r + 1]; i++) dense[acts.features[i]] = acts.activations[i];
          return dense;
        });
        const recon = Array.from({ length: rows }, (_, r) => decoded.subarray(r * d_out, (r + 1) * d_out));
        if (o.json) return await writeJson({ feature_acts, recon });
        return await writeText(
          feature_acts
            .map((a, r) => `row ${r}: ${acts.offsets[r + 1] - acts.offsets[r]} active of ${a.length}`)
            .join('\n'),
        );
      } finally {
        await runtime.close();
        dictionary.close();
      }
    });
}
