/** Sentences with an indirect object, after Wang et al. and the reference's §11: templates, names, seeded choice, roles. */
import { UsageError } from '../errors';
import { type Engine } from '../engine';

/** A generated sentence. The names are without their leading space. */
export interface IoiSentence {
  text: string;
  io: string;
  s: string;
  order: 'ABBA' | 'BABA';
  template: number;
}

const NAMES =
  'Mary John Alice Adam Amy Alan Anna Andrew Emily Anthony Eva Arthur Jane Brian Jennifer Carl Jessica Daniel Kate David Laura Edward Lisa Eric Maria Frank Michelle George Rachel Henry Rose Ian Sarah Jack Victoria James Clara Kevin Diana Luke Elena Mark Grace Martin Helen Michael Karen Paul Linda Peter Nora Richard Paula Robert Ryan Simon Thomas Tom William'.split(
    ' ',
  );
const PLACES = 'store garden restaurant school hospital office house station park museum library market beach'.split(
  ' ',
);
const OBJECTS =
  'ring bone basketball computer necklace drink snack bag book letter ball flower ticket key camera gift'.split(' ');

/** {A}, {B}: the names in order of mention; {S}: who gives; the answer follows. {and} is the conjunction. */
const TEMPLATES = [
  'When {A} {and} {B} went to the {place}, {S} gave the {object} to',
  'When {A} {and} {B} got a {object} at the {place}, {S} decided to give it to',
  'Then, {A} {and} {B} went to the {place}. {S} gave a {object} to',
  'Then, {A} {and} {B} had a lot of fun at the {place}. {S} gave a {object} to',
  'After {A} {and} {B} went to the {place}, {S} gave a {object} to',
  'While {A} {and} {B} were working at the {place}, {S} gave the {object} to',
  'Then, {A} {and} {B} had a long argument, and afterwards {S} said to',
];

/** A small seeded generator (mulberry32): the same numbers everywhere. */
export function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Words that are one token with a space in front. */
export const singleWords = (engine: Engine, words: readonly string[]): string[] =>
  words.filter((w) => engine.prompt(` ${w}`, false).tokens.length === 1);

/** Names that are one token in the model's vocabulary. */
export const singleNames = (engine: Engine): string[] => singleWords(engine, NAMES);

/**
 * `count` sentences, as many ABBA as BABA (the answer named first, or the giver). Names, places and objects are single tokens of the
 * model's vocabulary. The same seed gives the same sentences. Throws UsageError for vocabularies without three names.
 */
export function ioiSentences(engine: Engine, count: number, seed: number, conjunction = 'and'): IoiSentence[] {
  const names = singleNames(engine);
  const [places, objects] = [singleWords(engine, PLACES), singleWords(engine, OBJECTS)];
  if (names.length < 3 || places.length === 0 || objects.length === 0) {
    throw new UsageError('the vocabulary has too few of the names, places and objects as single tokens');
  }
  const random = seeded(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)];
  return Array.from({ length: count }, (_, i) => {
    const order = i % 2 === 0 ? ('ABBA' as const) : ('BABA' as const);
    const io = pick(names);
    let s = pick(names);
    while (s === io) s = pick(names);
    const template = Math.floor(random() * TEMPLATES.length);
    const [a, b] = order === 'ABBA' ? [io, s] : [s, io];
    const fill: Record<string, string> = {
      A: a,
      B: b,
      S: s,
      place: pick(places),
      object: pick(objects),
      and: conjunction,
    };
    const text = TEMPLATES[template].replace(/\{(\w+)\}/g, (_m, key: string) => fill[key]);
    return { text, io, s, order, template };
  });
}

/** Sentences as a prompt file. */
export function ioiFile(sentences: readonly IoiSentence[], seed: number): string {
  const head = [
    `# ${sentences.length} sentences with an indirect object, seed ${seed}. ABBA: the answer is named first; BABA: the giver is.`,
  ];
  const body = sentences.map((x, i) => {
    const answers = [x.io, x.s].map((n) => JSON.stringify(` ${n}`)).join(' | ');
    return `\n@name ${x.order}-${i + 1}\n${x.text}\n-> ${answers}`;
  });
  return [...head, ...body, ''].join('\n');
}
