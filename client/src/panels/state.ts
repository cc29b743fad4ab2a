import { z } from 'zod';
import { type PanelArguments, type PanelState } from '../../../webviews/protocol';

// No generated code: the extension host does not need it, and looking for it makes the host complain.
z.config({ jitless: true });

const prompt = z.object({ text: z.string(), bos: z.boolean() });
const count = z.number().int().min(0);
const root = z.discriminatedUnion('type', [
  z.object({ type: z.literal('feature'), site: z.string(), feature: count, position: count }),
  z.object({ type: z.literal('logit'), tokens: z.array(count).min(1).max(2), position: count }),
]);
const tree = z.discriminatedUnion('type', [
  ...root.options,
  z.object({ type: z.literal('graph'), file: z.string(), node: z.string(), position: count }),
]);
const uri = z.string().nullable();

const panelArguments: z.ZodType<PanelArguments> = z.discriminatedUnion('panel', [
  z.object({
    panel: z.literal('circuit'),
    uri,
    prompt,
    root: tree,
    offer: count.optional(),
    select: z.string().optional(),
  }),
  z.object({ panel: z.literal('feature'), site: z.string(), feature: count }),
  z.object({
    panel: z.literal('experiment'),
    id: z.string(),
    values: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
    prompts: z.discriminatedUnion('from', [
      z.object({ from: z.literal('document'), uri: z.string() }),
      z.object({ from: z.literal('generated'), count, seed: count }),
      z.object({ from: z.literal('prompt'), prompt }),
      z.object({ from: z.literal('none') }),
    ]),
  }),
  z.object({ panel: z.literal('attention'), uri, prompt, layer: count, head: count, destination: count }),
]);

const panelState = z.object({ version: z.literal(1), args: panelArguments, ui: z.unknown() });

/** A state that a panel left behind, or null when it is not one of ours. */
export function parsePanelState(value: unknown): PanelState | null {
  return panelState.safeParse(value).data ?? null;
}

/** Arguments that a panel sent. Null when they are malformed. */
export const parseArguments = (value: unknown): PanelArguments | null => panelArguments.safeParse(value).data ?? null;
