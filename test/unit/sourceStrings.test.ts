/** Prompt strings in experiment code: found where people write them, with their exact text and place, and not where they are something else. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { endOfPrompt, markdownPrompts, offsetInText, pythonPrompts } from '../../server/src/prompts';

const texts = (source: string): string[] => pythonPrompts(source).prompts.map((p) => p.text);

describe('Python', () => {
  test.each([
    ['prompt = "When John"', ['When John']],
    ["clean_text: str = 'a b'", ['a b']],
    ['PROMPTS = ["one two", "three four"]', ['one two', 'three four']],
    ['sentences = [\n    "one two",  # first\n    "three four",\n]', ['one two', 'three four']],
    ['prompts = dict(clean="a b", corrupted="c d")', []],
    ['x = dict(prompt="a b", other="c d")', ['a b']],
    ['data = {"prompt": "a b", "label": "c d"}', ['a b']],
    ['tokens = model.to_tokens("The cat sat")', ['The cat sat']],
    ['_, cache = model.run_with_cache("The cat sat", names_filter="z")', ['The cat sat']],
    ['model.generate(input="The cat", max_new_tokens=5)', []],
    ['model.generate("The cat", max_new_tokens=5)', ['The cat']],
    ['# prompt\nx = "The cat"', ['The cat']],
    ['x = "The cat"  # prompt', ['The cat']],
    ['x = "The cat"', []],
    ['print("prompt")', []],
    ['prompt = """two\nlines"""', ['two\nlines']],
    ["prompt = r'a\\b c'", ['a\\b c']],
    ['prompt == "no assignment"', []],
    ['prompt = b"bytes here"', []],
    ['prompt = "say \\"hi\\"\\n"', ['say "hi"\n']],
    ['prompt = ("in " "brackets")', []],
  ])('%s', (source, expected) => {
    // What lies in brackets behind a name is a call or a tuple; only lists and dictionaries hold prompts by their name.
    expect(texts(source)).toEqual(expected);
  });

  test('f-strings and unknown escapes are said to be not analysable', () => {
    const { prompts, notes } = pythonPrompts('prompt = f"When {name}"\nprompt = "\\N{DASH} x"\n');
    expect(prompts).toEqual([]);
    expect(notes.map((n) => n.message)).toEqual([
      expect.stringMatching(/f-string/),
      expect.stringMatching(/not known/),
    ]);
    expect(notes[0].start).toBe(9);
  });

  test('where no escapes are, the text stands verbatim at its place', () => {
    const word = fc.stringMatching(/^[a-zA-Z ,.]{3,20}$/);
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 6 }), fc.constantFrom('"', "'", '"""'), (words, q) => {
        fc.pre(words.every((w) => w.trim().length > 2));
        const source = `import x\nprompts = [\n${words.map((w) => `    ${q}${w}${q},\n`).join('')}]\n`;
        const { prompts } = pythonPrompts(source);
        expect(prompts.map((p) => p.text)).toEqual(words);
        for (const [i, p] of prompts.entries()) {
          expect(source.slice(p.start, endOfPrompt(p))).toBe(p.text);
          expect(p.line).toBe(2 + i);
        }
      }),
    );
  });

  test('through escapes, each character is found at its place and its place gives it back', () => {
    const piece = fc.constantFrom('a', ' b', '\\n', "\\'", '\\\\', '𝄞', '\\\n', '\\t');
    fc.assert(
      fc.property(fc.array(piece, { minLength: 4, maxLength: 20 }), (pieces) => {
        const body = `xy\\t${pieces.join('')}z`;
        const [p] = pythonPrompts(`prompt = '${body}'`).prompts;
        expect(p.text.endsWith('z')).toBe(true);
        expect(endOfPrompt(p)).toBe(10 + body.length);
        for (let i = 0; i < p.text.length; i++) {
          const place = p.start + (p.places?.[i] ?? i);
          expect(offsetInText(p, place)).toBe(i);
          const source = body.slice(p.places?.[i], p.places?.[i + 1]).replaceAll('\\\n', '');
          const values: Record<string, string> = { '\\n': '\n', '\\t': '\t', "\\'": "'", '\\\\': '\\' };
          expect(values[source] ?? source).toBe(p.text[i]);
        }
      }),
    );
  });

  test('anything at all is read without a crash, in time', () => {
    const pieces = fc.constantFrom(
      '"',
      "'",
      '"""',
      '\\',
      '\n',
      '#',
      'prompt',
      ' = ',
      '[',
      ']',
      '(',
      ')',
      '{',
      '}',
      ':',
      ',',
      'f',
      'é',
      '𝄞',
      'x',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 80 }), (list) => {
        const source = list.join('');
        for (const p of pythonPrompts(source).prompts)
          if (!p.places) expect(source.slice(p.start, endOfPrompt(p))).toBe(p.text);
          else expect(p.places).toHaveLength(p.text.length + 1);
      }),
      { numRuns: 500 },
    );
    const start = performance.now();
    pythonPrompts('prompt = "'.repeat(20_000) + '\n"'.repeat(20_000));
    pythonPrompts('"""'.repeat(20_001));
    pythonPrompts('prompts = [\n' + '  "some words here",\n'.repeat(20_000) + ']');
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

test('Markdown: blocks of prompts and of Python, with places in the whole file', () => {
  const source =
    '# Title\n\n```prompts\n@name a\nOne two\n```\n\n~~~python\nprompt = "three four"\n~~~\n\n```js\nprompt = "no"\n```\n';
  const { prompts } = markdownPrompts(source);
  expect(prompts.map((p) => [p.text, p.name])).toEqual([
    ['One two', 'a'],
    ['three four', null],
  ]);
  for (const p of prompts) {
    expect(source.slice(p.start, p.start + p.text.length)).toBe(p.text);
    expect(source.split('\n')[p.line]).toContain(p.text);
  }
});
