/**
 * Text to tokens with exact source offsets, over @huggingface/tokenizers. Byte-level BPE loses nothing, so a token's bytes, and from
 * them its range in the source, follow from its symbols.
 */
import { Tokenizer as HfTokenizer } from '@huggingface/tokenizers';
import { InputFileError, UnsupportedError, UsageError } from '../errors';
import { readTokenizerSpec } from './spec';

/** A token of a text. `start` and `end` are UTF-16 offsets; tokens that split a character share its range. */
export interface TextToken {
  id: number;
  start: number;
  end: number;
}

/** GPT-2's printable symbol of each byte, inverted (reference weight-formats §2). */
const BYTE_OF_SYMBOL: ReadonlyMap<string, number> = (() => {
  const map = new Map<string, number>();
  let extra = 0;
  for (let b = 0; b < 256; b++) {
    const printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    map.set(String.fromCodePoint(printable ? b : 256 + extra++), b);
  }
  return map;
})();

/** A byte-level BPE tokenizer of a model folder. */
export class Tokenizer {
  private readonly added: ReadonlyMap<number, string>;
  private longestToken = 0;

  constructor(
    private readonly path: string,
    private readonly hf: HfTokenizer,
  ) {
    this.added = new Map([...hf.get_added_tokens_decoder()].map(([id, t]) => [id, t.content]));
  }

  /** Bytes of the longest token. */
  get longest(): number {
    if (this.longestToken === 0) {
      let symbols = this.hf.id_to_token(0);
      for (let id = 0; symbols !== undefined; symbols = this.hf.id_to_token(++id)) {
        this.longestToken = Math.max(this.longestToken, symbols.length);
      }
    }
    return this.longestToken;
  }

  /** Bytes of a token, or null for ids without one. */
  bytes(id: number): Uint8Array | null {
    const added = this.added.get(id);
    if (added !== undefined) return Buffer.from(added, 'utf8');
    const symbols = this.hf.id_to_token(id);
    if (symbols === undefined) return null;
    const out: number[] = [];
    for (const s of symbols) {
      const b = BYTE_OF_SYMBOL.get(s);
      if (b === undefined) return Buffer.from(symbols, 'utf8');
      out.push(b);
    }
    return Uint8Array.from(out);
  }

  /** Text of one token; bytes that are no whole character show as U+FFFD. Null for ids without a token. */
  text(id: number): string | null {
    const b = this.bytes(id);
    return b === null ? null : Buffer.from(b).toString('utf8');
  }

  /**
   * Token ids of a text with their ranges; no BOS is added. Throws UnsupportedError when the tokenizer changes the text, so that
   * ranges cannot be exact.
   */
  encode(text: string): TextToken[] {
    const { ids } = this.hf.encode(text, { add_special_tokens: false });
    const source = Buffer.from(text, 'utf8');
    const charAt = utf16Offsets(text, source.length);
    let at = 0;
    return ids.map((id) => {
      const bytes = this.bytes(id);
      if (bytes === null || Buffer.compare(source.subarray(at, at + bytes.length), bytes) !== 0) {
        throw new UnsupportedError(
          `${this.path}: token ${id} does not spell the text it came from; only byte-level BPE without normalisation is supported`,
        );
      }
      const start = charAt.startOf[at];
      at += bytes.length;
      return { id, start, end: charAt.endOf[at] };
    });
  }

  /** Id of a text that is exactly one token. Throws UsageError, listing the tokens, when it is not. */
  single(text: string): number {
    const tokens = this.encode(text);
    if (tokens.length === 1) return tokens[0].id;
    const parts = tokens.map((t) => `${JSON.stringify(this.text(t.id))} (${t.id})`).join(', ');
    throw new UsageError(
      `${JSON.stringify(text)} is ${tokens.length} tokens${parts ? `: ${parts}` : ''}; give one token, or its id`,
    );
  }
}

/** For each byte position: the UTF-16 index of the character it lies in, and the index after the character it ends. */
function utf16Offsets(text: string, byteLength: number): { startOf: Int32Array; endOf: Int32Array } {
  const startOf = new Int32Array(byteLength + 1).fill(text.length);
  const endOf = new Int32Array(byteLength + 1);
  let b = 0;
  let c = 0;
  for (const ch of text) {
    const n = Buffer.byteLength(ch, 'utf8');
    startOf.fill(c, b, b + n);
    endOf.fill(c + ch.length, b + 1, b + n + 1);
    b += n;
    c += ch.length;
  }
  return { startOf, endOf };
}

/**
 * Opens the tokenizer of a Hugging Face folder: `tokenizer.json`, or `vocab.json` with `merges.txt`. Null when there is neither.
 * Throws InputFileError, and UnsupportedError for what is no byte-level BPE.
 */
export function openTokenizer(folder: string): Tokenizer | null {
  const read = readTokenizerSpec(folder);
  if (!read) return null;
  try {
    return new Tokenizer(read.path, new HfTokenizer(read.spec, {}));
  } catch (e) {
    throw new InputFileError(read.path, `not a tokenizer this project reads (${(e as Error).message})`);
  }
}
