/** The editor's side of prompts: escaping, ranges, edits. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { findPrompt } from '../../client/src/panels/findPrompt';
import { tokenAt, ParsedDocuments } from '../../server/src/lsp/documents';
import { answerStart, codeActions } from '../../server/src/lsp/editing';
import { commandLink, escapeMarkdown, token } from '../../server/src/lsp/markdown';
import { parsePrompts } from '../../server/src/prompts';

test('no text can open a link, an image, code, emphasis or HTML in a hover', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'[]()<>!`*_\\~#|&"\'=:a \n') }), (text) => {
      const escaped = escapeMarkdown(text);
      // Every special character is either behind a backslash of its own or an entity.
      const bare = escaped.replace(/&lt;|&amp;/g, '').replace(/\\[^a-zA-Z0-9\s]/g, '');
      expect(bare).not.toMatch(/[[\]()<>!`*_\\~#|&]/);
    }),
  );
  expect(token('[x](command:evil)')).toBe('‘\\[x\\]\\(command\\:evil\\)’');
  expect(token('a\nb')).toBe('‘a⏎b’');
});

test('arguments of a command link cannot end the link', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const link = commandLink('x', 'c', { text });
      const query = /^\[x\]\(command:c\?([^()\s]*)\)$/.exec(link)?.[1];
      expect(JSON.parse(decodeURIComponent(query ?? ''))).toEqual([{ text }]);
    }),
  );
});

test('a token is found under each of its characters, and the last one at the end', () => {
  const tokens = [
    { position: 0, id: 9, text: '<bos>' },
    { position: 1, id: 1, text: 'When', start: 0, end: 4 },
    { position: 2, id: 2, text: ' John', start: 4, end: 9 },
  ];
  expect([0, 3, 4, 8, 9, 10].map((o) => tokenAt(tokens, o)?.position)).toEqual([1, 1, 2, 2, 2, undefined]);
});

const doc = (text: string): TextDocument => TextDocument.create('file:///x.prompts', 'prompts', 1, text);

function act(source: string, at: string, title: RegExp): string {
  const document = doc(source);
  const parsed = new ParsedDocuments();
  const p = parsed.promptAt(document, source.indexOf(at));
  if (!p) throw new Error('no prompt there');
  const action = codeActions(document, p, parsed.file(document).prompts, []).find((a) => title.test(a.title));
  if (!action) throw new Error(`no action ${title}`);
  return TextDocument.applyEdits(document, action.edit?.changes?.['file:///x.prompts'] ?? []);
}

test('the corrupted twin keeps the answers, gets a free name, and is a prompt of its own', () => {
  const source = '@name clean\nWhen A and B went, A gave it to\n-> " B" | " A"\nNext one\n';
  const edited = act(source, 'When', /alongside/);
  const { prompts, problems } = parsePrompts(edited);
  expect(problems).toEqual([]);
  expect(prompts.map((p) => [p.name, p.text])).toEqual([
    ['clean', 'When A and B went, A gave it to'],
    ['clean-twin', 'When A alongside B went, A gave it to'],
    [null, 'Next one'],
  ]);
  expect(prompts[1].answers).toEqual([' B', ' A']);
});

test('the twin with swapped names swaps every occurrence, at the end of a file without a newline too', () => {
  const edited = act('John met Mary. John\n-> " Mary" | " John"', 'John', /↔/);
  expect(parsePrompts(edited).prompts[1].text).toBe('Mary met John. Mary');
});

test('the twin of a fenced prompt stays outside the fence', () => {
  const edited = act('```\none and\ntwo and three\n```\nafter', 'two', /alongside/);
  expect(parsePrompts(edited).prompts.map((p) => p.text)).toEqual([
    'one and\ntwo and three',
    'one and\ntwo alongside three',
    'after',
  ]);
});

test('answer and distractor swap in place', () => {
  expect(act('x and y\n->  " Mary"  | " Jo\\"hn"', 'x', /Swap/)).toBe('x and y\n->  " Jo\\"hn"  | " Mary"');
});

test('BOS is put in front of one prompt and of no other', () => {
  const edited = act('@bos false\none\ntwo\n-> "a" | "b"\nthree', 'two', /BOS/);
  expect(parsePrompts(edited).prompts.map((p) => [p.text, p.bos])).toEqual([
    ['one', false],
    ['two', true],
    ['three', false],
  ]);
});

test('the answer being typed begins after the arrow or the last bar outside quotes', () => {
  const line = '-> " a|b" | "c';
  expect(answerStart(line, line.length)).toBe(line.indexOf('"c'));
  expect(answerStart('-> ', 3)).toBe(3);
  expect(answerStart('->', 2)).toBe(2);
});

test('a prompt is found again where it stands whole, nearest to where it was', () => {
  const text = 'abc\nabcd\nabc\n\\abc';
  expect(findPrompt(text, 'abc', 0)).toBe(0);
  expect(findPrompt(text, 'abc', 8)).toBe(9);
  expect(findPrompt(text, 'abc', 99)).toBe(14);
  expect(findPrompt(text, 'bcd', 0)).toBe(-1);
});
