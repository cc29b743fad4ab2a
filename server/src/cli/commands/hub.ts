import { type Command } from 'commander';
import { Hub, type HubEntry } from '../../hub';
import { table as columns } from '../../text';
import { collect, type Context } from '../common';
import { Progress, writeJson, writeText } from '../output';

interface HubOptions {
  registry: string[];
  endpoint: string;
  json?: boolean;
}

const size = (bytes: number): string =>
  bytes < 1e9 ? `${Math.ceil(bytes / 1e6)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;

const hereOf = (e: HubEntry): string => {
  if (e.missingBytes === 0) return 'here';
  const part = e.here > 0 ? `${e.here} of ${e.files} files here, ` : '';
  return `${part}about ${size(e.missingBytes)} to fetch`;
};

const withHub = (c: Command): Command =>
  c
    .option('--registry <file>', 'names of your own models and dictionaries (repeatable)', collect, [])
    .option('--json', 'print one JSON document on standard output');

const hubOf = (context: Context, o: Pick<HubOptions, 'registry'> & { endpoint?: string }): Hub =>
  new Hub(context.home, {
    registries: o.registry,
    endpoint: o.endpoint ?? '',
    offline: false,
    proxy: '',
    neuronpedia: '',
  });

/** `models` and `download`: what can be had by name, and fetching it. */
export function addHub(program: Command, context: Context): void {
  withHub(program.command('models'))
    .description('list published models and dictionaries by name, and what is on this machine of them')
    .action(async (o: HubOptions) => {
      const entries = hubOf(context, o).entries();
      if (o.json) return writeJson({ entries });
      const rows = entries.map((e) => [`hub:${e.name}`, e.title, e.repo, size(e.bytes), hereOf(e)]);
      await writeText(columns([['name', '', 'repository', 'size', ''], ...rows]).join('\n'));
    });
  withHub(program.command('download <name...>'))
    .description(
      'fetch models and dictionaries by name (or NAME/ID, one of a set) into the cache of the Hugging Face Hub',
    )
    .option('--endpoint <url>', 'the Hub or a mirror of it (default: HF_ENDPOINT, or the Hub)')
    .option('--dry-run', 'only say what would be fetched')
    .action(async (names: string[], o: HubOptions & { dryRun?: boolean }) => {
      const bare = names.map((n) => n.replace(/^hub:/, ''));
      const hub = hubOf(context, o);
      const progress = new Progress('fetching', (n) => size(n));
      const onProgress = (done: number, total: number): void => progress.update(done, total);
      const plan = await (
        o.dryRun ? hub.plan(bare, context.signal) : hub.fetch(bare, { signal: context.signal, onProgress })
      ).finally(() => progress.end());
      if (o.json) return writeJson(plan);
      const what = `${plan.files} ${plan.files === 1 ? 'file' : 'files'}, ${size(plan.bytes)}, from ${plan.endpoint}`;
      await writeText(`${o.dryRun ? 'would fetch' : 'fetched'} ${what} into ${plan.cache}`);
    });
}
