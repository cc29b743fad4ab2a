import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');
const PUBLISHED = join(ROOT, 'test', 'fixtures', 'published');

/** Repositories of the registry with tiny weights in their layouts (test/fixtures/published/make.py). */
export function publishedRepos(): Record<string, Record<string, Buffer>> {
  const repos: Record<string, Record<string, Buffer>> = {};
  for (const owner of readdirSync(PUBLISHED)) {
    if (!statSync(join(PUBLISHED, owner)).isDirectory()) continue;
    for (const name of readdirSync(join(PUBLISHED, owner))) {
      const folder = join(PUBLISHED, owner, name);
      const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((f) => f.isFile());
      const paths = files.map((f) => join(f.parentPath, f.name));
      repos[`${owner}/${name}`] = Object.fromEntries(
        paths.map((p) => [relative(folder, p).replaceAll('\\', '/'), readFileSync(p)]),
      );
    }
  }
  const demo = join(ROOT, 'demo', 'model');
  for (const f of ['tokenizer.json', 'tokenizer_config.json'])
    repos['openai-community/gpt2'][f] = readFileSync(join(demo, f));
  return repos;
}

/** What the weights must give at each token of a prompt, by set and hook [tokens][d_sae], from torch. */
export const publishedRef = (): {
  text: string;
  tokens: number[];
  feature_acts: Record<string, Record<string, number[][]>>;
} => JSON.parse(readFileSync(join(PUBLISHED, 'ref.json'), 'utf8')) as ReturnType<typeof publishedRef>;
