import { expect, test } from 'vitest';
import fc from 'fast-check';
import { parsePrompts } from '../../server/src/prompts';

test('the example of the design: comment, directives, prompt, answers', () => {
  const source = [
    '# a comment',
    '@bos true',
    'When John and Mary went to the shops, John gave the bag to ',
    '-> " Mary" | " John"',
    '',
    '@name corrupted',
    '@bos false',
    '\\# not a comment',
  ].join('\r\n');
  const { prompts, problems } = parsePrompts(source);
  expect(problems).toEqual([]);
  expect(prompts).toEqual([
    {
      text: 'When John and Mary went to the shops, John gave the bag to ',
      start: 24,
      line: 2,
      name: null,
      bos: true,
      answers: [' Mary', ' John'],
      answerRanges: [
        { start: source.indexOf('" Mary"'), end: source.indexOf('" Mary"') + 7 },
        { start: source.indexOf('" John"'), end: source.indexOf('" John"') + 7 },
      ],
    },
    {
      text: '# not a comment',
      start: source.indexOf('# not'),
      line: 7,
      name: 'corrupted',
      bos: false,
      answers: [],
      answerRanges: [],
    },
  ]);
});

test('a fenced prompt keeps its newlines', () => {
  const source = '```\nfirst\n\n# second\n```\n-> "a|\\"b"';
  const [p] = parsePrompts(source).prompts;
  expect(p.text).toBe('first\n\n# second');
  expect(p.answers).toEqual(['a|"b']);
  expect(p.answerRanges.map((r) => source.slice(r.start, r.end))).toEqual(['"a|\\"b"']);
});

test('what is not understood is named with its line, and the rest is read', () => {
  const { prompts, problems } = parsePrompts(
    '-> "x"\n@wat 1\n@bos maybe\nprompt\n-> x\n@name a\none\n@name a\ntwo\n```\nopen',
  );
  expect(problems.map((p) => [p.line, p.message])).toEqual([
    [0, 'an answer needs a prompt above it'],
    [1, 'unknown directive @wat; there are @bos and @name'],
    [2, '@bos expects true or false, got "maybe"'],
    [4, 'expected answers as JSON strings: -> " Mary" | " John"'],
    [8, 'the name "a" is taken'],
    [9, 'the fence is not closed'],
  ]);
  expect(prompts.map((p) => p.text)).toEqual(['prompt', 'one', 'two']);
});

test('every prompt stands verbatim at its offset, whatever the file', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('```', '-> "a"', '@bos false', '\\@x', '#', '')),
      ),
      (lines) => {
        const source = lines.join('\n');
        for (const p of parsePrompts(source).prompts)
          expect(source.slice(p.start, p.start + p.text.length)).toBe(p.text);
      },
    ),
  );
});
