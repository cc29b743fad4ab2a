import { z } from 'zod';
import type { NeuronpediaPage } from '../../protocol/hub';
import { DownloadError } from '../errors';
import { type HubFetch } from './fetch';

const MAX_BYTES = 20e6;
const MOST = 20;
const text = z.string().max(5000);

const schema = z.object({
  frac_nonzero: z.number().nullish(),
  maxActApprox: z.number().nullish(),
  explanations: z
    .array(z.object({ description: text, typeName: text.nullish(), explanationModelName: text.nullish() }))
    .nullish(),
});

async function limited(response: Response, url: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    size += part.byteLength;
    if (size > MAX_BYTES) throw new DownloadError(url, null, `the answer has more than ${MAX_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/**
 * What Neuronpedia says of a feature (reference interop §3.2): explanations, best first, density, largest activation. `id` is MODEL/SOURCE. Throws
 * DownloadError, CancelledError.
 */
export async function neuronpediaPage(
  http: HubFetch,
  base: string,
  id: string,
  feature: number,
): Promise<NeuronpediaPage> {
  const path = [...id.split('/'), String(feature)].map(encodeURIComponent).join('/');
  const url = `${base.replace(/\/+$/, '')}/api/feature/${path}`;
  let answer: string;
  try {
    answer = await limited(await http.fetch(url), url);
  } catch (e) {
    if (e instanceof DownloadError && e.status === 404)
      throw new DownloadError(url, 404, 'Neuronpedia has no such feature');
    throw e;
  }
  let value: unknown;
  try {
    value = JSON.parse(answer);
  } catch {
    throw new DownloadError(url, null, "an answer that is not Neuronpedia's");
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new DownloadError(url, null, `an answer that is not Neuronpedia's (${parsed.error.issues[0].message})`);
  const { frac_nonzero, maxActApprox, explanations } = parsed.data;
  return {
    density: frac_nonzero ?? null,
    max: maxActApprox ?? null,
    explanations: (explanations ?? []).slice(0, MOST).map((e) => ({
      text: e.description,
      by: [e.typeName, e.explanationModelName].filter((x) => x != null && x !== '').join(', '),
    })),
  };
}
