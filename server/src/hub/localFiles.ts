import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { getHFHubCachePath } from '@huggingface/hub';

/** Files of a repository: all of them, or it is not there. */
export interface RepoFiles {
  repo: string;
  revision: string;
  files: readonly string[];
}

/** The cache folder that the Hub's own tools use (HF_HUB_CACHE, HF_HOME). */
export const hubCache = (): string => getHFHubCachePath();

/** A repository's folder in the cache. */
export const repoFolder = (cache: string, repo: string): string =>
  join(cache, ['models', ...repo.split('/')].join('--'));

/** The snapshot that a revision stands for, first; then the others, newest first. */
function snapshots(folder: string, revision: string): string[] {
  const at = join(folder, 'snapshots');
  if (!existsSync(at)) return [];
  const ref = join(folder, 'refs', revision);
  const commit = existsSync(ref) ? readFileSync(ref, 'utf8').trim() : revision;
  const age = (name: string): number => statSync(join(at, name)).mtimeMs;
  const others = readdirSync(at)
    .filter((n) => n !== commit && statSync(join(at, n)).isDirectory())
    .sort((a, b) => age(b) - age(a));
  return [commit, ...others].map((c) => join(at, c));
}

/**
 * The folder of the cache in which all files of a repository lie, or null. The snapshot of the revision counts before others; links of the
 * cache to files that are gone do not count.
 */
export function snapshotWith(cache: string, { repo, revision, files }: RepoFiles): string | null {
  const all = snapshots(repoFolder(cache, repo), revision);
  return all.find((s) => files.every((f) => existsSync(join(s, f)))) ?? null;
}
