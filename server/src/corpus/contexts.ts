import { type Engine } from '../engine';
import { EngineError } from '../errors';
import { type CorpusText } from './files';

/** A stretch of text that is run as one prompt. */
export interface CorpusContext {
  file: string;
  line: number;
  text: string;
  bos: boolean;
  tokens: number[];
}

/** Characters looked at to find one context. */
const REACH = 8;

/**
 * Cuts a text into contexts of at most `length` tokens, BOS included. A prompt is one context or, if it does not fit the model, none. Every
 * context is tokenized by itself, so that its text alone gives the same tokens again. `onSkip` hears why a stretch was left out.
 */
export function* contextsOf(
  engine: Engine,
  t: CorpusText,
  length: number,
  onSkip: (reason: string) => void,
): Generator<CorpusContext> {
  const tokenize = (text: string): number[] | null => {
    try {
      const { tokens } = engine.prompt(text, t.bos);
      engine.model.checkTokens(tokens);
      return tokens;
    } catch (e) {
      if (!(e instanceof EngineError)) throw e;
      onSkip(e.message);
      return null;
    }
  };
  if (t.kind === 'prompt') {
    const tokens = tokenize(t.text);
    if (tokens) yield { file: t.file, line: t.line, text: t.text, bos: t.bos, tokens };
    return;
  }
  const room = length - (t.bos ? 1 : 0);
  let { line } = t;
  for (let at = 0; at < t.text.length;) {
    const piece = wholeCharacters(t.text.slice(at, at + room * REACH));
    const text = firstTokens(engine, piece, room, onSkip);
    if (text.trim() !== '') {
      const tokens = tokenize(text);
      if (tokens) yield { file: t.file, line, text, bos: t.bos, tokens };
    }
    if (t.kind === 'text') line += text.split('\n').length - 1;
    at += Math.max(1, text.length);
  }
}

/** A text without the first half of a character at its end. */
const wholeCharacters = (text: string): string => {
  const last = text.charCodeAt(text.length - 1);
  return text.length > 1 && last >= 0xd800 && last < 0xdc00 ? text.slice(0, -1) : text;
};

/** The part of a piece that its first tokens spell, up to the end of a character; all of it where it cannot be tokenized. */
function firstTokens(engine: Engine, piece: string, count: number, onSkip: (reason: string) => void): string {
  try {
    const tokens = engine.tokenizer?.encode(piece) ?? [];
    if (tokens.length <= count) return piece;
    let last = count;
    while (last > 1 && tokens[last].start < tokens[last - 1].end) last--;
    return piece.slice(0, tokens[last - 1].end);
  } catch (e) {
    if (!(e instanceof EngineError)) throw e;
    onSkip(e.message);
    return piece;
  }
}
