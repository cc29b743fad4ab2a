import { type CodeLens, type Range } from 'vscode-languageserver';
import { type TextDocument } from 'vscode-languageserver-textdocument';
import { z } from 'zod';
import { Commands, type PromptRef, type RootRef, type ServerSettings, type WireToken } from '../../protocol';
import { type Prediction } from '../analyses';
import { type Engine } from '../engine';
import { EngineError } from '../errors';
import { type FilePrompt, type SourcePrompts } from '../prompts';
import { percent, quote } from '../text';
import { MAX_LENSED } from './documents';
import { tokenRoot } from './hover';

/** What a lens remembers between being placed and being titled. */
const lensData = z.object({
  kind: z.enum(['next', 'answers', 'features', 'token']),
  uri: z.string(),
  /** Version of the document that `start` counts in. */
  version: z.number(),
  start: z.number().int(),
  /** The cursor, from the prompt's start. */
  offset: z.number().int().optional(),
});
export type LensData = z.infer<typeof lensData>;

/** A lens that is being titled: what it remembers, and its prompt. */
export interface LensInput {
  data: LensData;
  prompt: PromptRef;
  answers: string[];
}

/** Parses what came back with a lens. Throws on anything else. */
export const parseLens = (data: unknown): LensData => lensData.parse(data);

/** Where lenses stand; their titles come later. `cursor` is an offset in this document, or null. */
export function placeLenses(
  document: TextDocument,
  prompts: readonly FilePrompt[],
  cursor: number | null,
  shown: ServerSettings['codeLens'],
): CodeLens[] {
  const lenses: CodeLens[] = [];
  const at = (p: FilePrompt): Range => {
    const start = document.positionAt(p.start);
    return { start, end: start };
  };
  const under = (p: FilePrompt): boolean => cursor !== null && cursor >= p.start && cursor <= p.start + p.text.length;
  const shownPrompts = prompts.filter((p, i) => i < MAX_LENSED || under(p));
  for (const p of shownPrompts) {
    const add = (data: Pick<LensData, 'kind' | 'offset'>): void => {
      lenses.push({ range: at(p), data: { uri: document.uri, version: document.version, start: p.start, ...data } });
    };
    if (p.answers.length > 1 && shown.answers) add({ kind: 'answers' });
    if (shown.prompt) add({ kind: 'next' });
    if (shown.features) add({ kind: 'features' });
    if (cursor !== null && shown.token && under(p)) {
      add({ kind: 'token', offset: cursor - p.start });
    }
  }
  return lenses;
}

/** Lenses over prompts in source code. They have their titles at once: looking at code loads no model. */
export function sourceLenses(document: TextDocument, { prompts, notes }: SourcePrompts): CodeLens[] {
  const at = (offset: number): Range => {
    const start = document.positionAt(offset);
    return { start, end: start };
  };
  return [
    ...prompts.slice(0, MAX_LENSED).map((p) => {
      const args = { uri: p.places ? null : document.uri, prompt: { text: p.text, bos: p.bos } };
      const title = 'Attribute next token';
      return {
        range: at(p.start),
        command: command(
          title,
          Commands.attributePrompt,
          args,
          'The recursive DFA tree of the likeliest next token of this prompt',
        ),
      };
    }),
    ...notes
      .slice(0, MAX_LENSED)
      .map((n) => ({ range: at(n.start), command: explain(`Not analysable: ${n.message}`) })),
  ];
}

type Command = NonNullable<CodeLens['command']>;

const command = (title: string, id: string, args: unknown, tooltip?: string): Command => ({
  title,
  command: id,
  arguments: [args],
  ...(tooltip ? { tooltip } : {}),
});

/** A title without a command: why there is nothing to click. */
export const explain = (title: string): Command => ({ title, command: '' });

const attribute = (
  title: string,
  uri: string,
  prompt: PromptRef,
  rest: { root: RootRef; offer?: number },
  tooltip: string,
): Command => command(title, Commands.attribute, { uri, prompt, ...rest }, tooltip);

/** Titles that need the prompt's last position or its answers. */
export function endLens(
  { data, prompt, answers }: LensInput,
  engine: Engine,
  tokens: WireToken[],
  next: Prediction['top'][number],
): Command {
  const position = tokens.length - 1;
  const { uri } = data;
  if (data.kind === 'answers') {
    const [answer, distractor] = answers;
    try {
      const ids = [answer, distractor].map((a) => engine.tokenizer?.single(a) ?? -1);
      const root = { type: 'logit' as const, tokens: ids, position };
      return attribute(
        `Attribute ${quote(answer)} − ${quote(distractor)}`,
        uri,
        prompt,
        { root },
        'The recursive DFA tree of the logit difference',
      );
    } catch (e) {
      if (e instanceof EngineError) return explain(e.message);
      throw e;
    }
  }
  const root = { type: 'logit' as const, tokens: [next.id], position };
  const title = `Attribute ${quote(next.text ?? String(next.id))} (next token, ${percent(next.probability)})`;
  return attribute(title, uri, prompt, { root }, 'The recursive DFA tree of the likeliest next token');
}

/** Title of the lens of the token under the cursor. */
export function tokenLens({ data, prompt }: LensInput, t: WireToken): Command {
  const { uri } = data;
  const root = tokenRoot(t);
  if (!root)
    return command(
      `Features of ${quote(t.text)} @0`,
      Commands.showFeatures,
      { uri, prompt, position: 0 },
      'Nothing predicts the first token: its features',
    );
  return attribute(
    `Attribute this token ${quote(t.text)} @${t.position}`,
    uri,
    prompt,
    { root, offer: t.position },
    `Why the model expected it at position ${t.position - 1}`,
  );
}

/** Title of the features lens. */
export const featuresLens = ({ data, prompt }: LensInput, position: number): Command =>
  command(
    'Features',
    Commands.showFeatures,
    { uri: data.uri, prompt, position },
    'Features that fire at the end of the prompt',
  );
