import { join } from 'node:path';
import { UsageError } from '../errors';
import { hubCache, snapshotWith } from './localFiles';
import { HUB_PREFIX, modelNamed, type Registry, type RegistryDictionary, type RegistrySet, setNamed } from './registry';

/** A dictionary to open, with what its registry says of it. */
export interface DictionarySource {
  path: string;
  contract?: NonNullable<RegistrySet['contract']>;
  neuronpedia?: string;
}

/** What an installation holds of a model or set. */
export interface LocalState {
  name: string;
  /** Files that are needed, and those of them that are here. */
  files: number;
  here: number;
  /** About how many bytes all files have. */
  bytes: number;
  missingBytes: number;
}

const BYTES = 4;

const whole = (s: { repo: string; revision: string }, d: RegistryDictionary): Parameters<typeof snapshotWith>[1] => ({
  repo: s.repo,
  revision: s.revision,
  files: d.files,
});

/** What is here of a model. */
export function stateOfModel(r: Registry, name: string, cache = hubCache()): LocalState {
  const m = modelNamed(r, name);
  const here = snapshotWith(cache, m) !== null;
  const files = m.files.length;
  return { name, files, here: here ? files : 0, bytes: m.bytes, missingBytes: here ? 0 : m.bytes };
}

/** What is here of a set of dictionaries; each counts when it is whole. */
export function stateOfSet(r: Registry, name: string, cache = hubCache()): LocalState {
  const s = setNamed(r, name);
  const missing = s.dictionaries.filter((d) => snapshotWith(cache, whole(s, d)) === null);
  const count = (list: RegistryDictionary[]): number => list.reduce((n, d) => n + d.files.length, 0);
  const bytes = (list: RegistryDictionary[]): number => list.reduce((n, d) => n + BYTES * d.parameters, 0);
  const files = count(s.dictionaries);
  return {
    name,
    files,
    here: files - count(missing),
    bytes: bytes(s.dictionaries),
    missingBytes: bytes(missing),
  };
}

const notHere = (name: string, repo: string): UsageError =>
  new UsageError(
    `${HUB_PREFIX}${name} is not on this machine (${repo}): fetch it with "attention-circuits download ${name}", or by choosing it as the model in the editor`,
  );

/** The folder of a model: a path as it is, or the local files of a name after `hub:`. Throws UsageError when they are not here. */
export function resolveModelName(r: () => Registry, model: string, cache = hubCache()): string {
  if (!model.startsWith(HUB_PREFIX)) return model;
  const m = modelNamed(r(), model.slice(HUB_PREFIX.length));
  const folder = snapshotWith(cache, m);
  if (folder === null) throw notHere(m.name, m.repo);
  return folder;
}

/** Dictionaries of paths and of names after `hub:`. Throws UsageError naming the first that is not here. */
export function resolveDictionaryNames(
  r: () => Registry,
  given: readonly string[],
  cache = hubCache(),
): DictionarySource[] {
  return given.flatMap((path): DictionarySource[] => {
    if (!path.startsWith(HUB_PREFIX)) return [{ path }];
    const name = path.slice(HUB_PREFIX.length);
    const s = setNamed(r(), name);
    return s.dictionaries.map((d) => {
      const folder = snapshotWith(cache, whole(s, d));
      if (folder === null) throw notHere(name, s.repo);
      return {
        path: join(folder, d.path),
        ...(s.contract ? { contract: s.contract } : {}),
        ...(d.neuronpedia === null ? {} : { neuronpedia: d.neuronpedia }),
      };
    });
  });
}
