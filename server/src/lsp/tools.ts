import { z } from 'zod';
import { toolNamed } from '../assistant';
import { UsageError } from '../errors';
import { type ModelHost } from './modelHost';

/** Runs a tool of assistants with the loaded model. Throws UsageError for unknown tools and input that does not fit, and the engine's errors. */
export async function runTool(
  host: ModelHost,
  name: string,
  input: unknown,
  signal: AbortSignal,
): Promise<{ text: string }> {
  const tool = toolNamed(name);
  const parsed = tool.input.safeParse(input ?? {});
  if (!parsed.success) throw new UsageError(`${name}: ${z.prettifyError(parsed.error)}`);
  const engine = await host.engine();
  const result = await tool.run(
    {
      engine,
      signal,
      run: async (text, bos) => (await host.analyse({ text, bos }, 'batch', signal)).run,
      labelOf: (site, feature) => host.labelOf(engine, site, feature),
      labelled: (part) => host.featuresLabelled(engine, part),
    },
    parsed.data,
  );
  return { text: JSON.stringify(result) };
}
