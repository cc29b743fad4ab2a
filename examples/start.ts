/** `npm start`: the trees of the example prompts, printed by the command line. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parsePrompts } from '../server/src/prompts';
import { main } from '../server/src/cli';

const home = join(__dirname, '..');

/** Arguments of the tree of an answer against its first distractor at a prompt's end. */
function treeArguments(text: string, bos: boolean, position: number, answers: string[]): string[] {
  const [answer, distractor] = answers.map((a) => JSON.stringify(a));
  const root = distractor ? `logitdiff:${answer}|${distractor}@${position}` : `logit:${answer}@${position}`;
  return [
    'tree',
    '--model',
    'demo',
    '--prompt',
    text,
    ...(bos ? [] : ['--no-bos']),
    '--root',
    root,
    '--depth',
    '3',
    '--top',
    '3',
    '--view',
    'component',
  ];
}

async function start(signal: AbortSignal): Promise<number> {
  const { Engine } = await import('../server/src/engine');
  const engine = await Engine.open({
    model: join(home, 'demo', 'model'),
    dictionaries: [],
    contract: 'auto',
    provider: 'cpu',
  });
  const dir = join(home, 'examples');
  for (const file of readdirSync(dir)
    .filter((f) => f.endsWith('.prompts'))
    .sort()
    .reverse()) {
    for (const p of parsePrompts(readFileSync(join(dir, file), 'utf8')).prompts) {
      console.log(`\n── examples/${file}${p.name ? ` · ${p.name}` : ''}\n${p.text} …\n`);
      const code = await main(treeArguments(p.text, p.bos, engine.prompt(p.text, p.bos).tokens.length - 1, p.answers), {
        home,
        signal,
      });
      if (code !== 0) return code;
    }
  }
  console.log(
    '\nTry your own: npx attention-circuits tree --model demo --prompt "…" --root \'logit:" Mary"@14\' (see README.md)',
  );
  await engine.close();
  return 0;
}

const controller = new AbortController();
process.on('SIGINT', () => controller.abort());
void start(controller.signal).then((code) => {
  process.exitCode = code;
});
