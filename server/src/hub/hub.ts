import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { HubEntry, HubPlan, NeuronpediaPage } from '../../protocol/hub';
import { UsageError } from '../errors';
import { download, type DownloadPlan, type DownloadSeams, type HubPlace, planDownload, type Wanted } from './download';
import { type HubFetch, hubFetch } from './fetch';
import { hubCache } from './localFiles';
import { neuronpediaPage } from './neuronpedia';
import { modelNamed, readRegistry, type Registry, setNamed } from './registry';
import { stateOfModel, stateOfSet } from './resolve';

export type { HubEntry, HubPlan };

/** How the Hub is reached. */
export interface HubSettings {
  /** Registry files beside our own. */
  registries: readonly string[];
  /** Address of the Hub or a mirror; empty for HF_ENDPOINT or the Hub itself. */
  endpoint: string;
  offline: boolean;
  /** Proxy; empty for that of the environment. */
  proxy: string;
  /** Address of Neuronpedia. */
  neuronpedia: string;
}

const ENDPOINT = 'https://huggingface.co';

const isSet = (value: string | undefined): boolean => /^(1|true|yes|on)$/i.test(value ?? '');

/** The user's token: HF_TOKEN, or the file that the Hub's own tools write. */
function userToken(): string | null {
  const set = process.env.HF_TOKEN?.trim();
  if (set) return set;
  const home = process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  const file = process.env.HF_TOKEN_PATH ?? join(home, 'token');
  const token = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  return /^\S+$/.test(token) ? token : null;
}

/** Throws UsageError for a token of a form that the Hub's library does not take. */
function checked(token: string | null): string | null {
  if (token === null || token.startsWith('hf_')) return token;
  throw new UsageError(
    'the token (HF_TOKEN, or the file token in HF_HOME) does not begin with hf_; replace or remove it',
  );
}

function endpointOf(setting: string): string {
  const address = setting.replace(/\/+$/, '');
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    throw new UsageError(`${JSON.stringify(address)} is not an address; expected one like ${ENDPOINT}`);
  }
  const loopback = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback))
    throw new UsageError(`${address} is not encrypted: it must be reached by https, or on this machine`);
  return address;
}

const summaryOf = ({ files, bytes, free }: DownloadPlan, { endpoint, cache }: HubPlace): HubPlan => ({
  files: files.length,
  bytes,
  free,
  endpoint,
  cache,
});

/** Published models and dictionaries: the registry, what is here of it, and fetching the rest. Nothing is requested but by plan and fetch. */
export class Hub {
  private read: Registry | null = null;

  constructor(
    private readonly home: string,
    private readonly settings: HubSettings,
    private readonly seams: DownloadSeams = {},
  ) {}

  /** Throws InputFileError for a registry file that cannot be read. */
  registry = (): Registry => {
    this.read ??= readRegistry([join(this.home, 'server', 'registry', 'registry.json'), ...this.settings.registries]);
    return this.read;
  };

  /** Everything that can be chosen, with what is here of it. */
  entries(): HubEntry[] {
    const r = this.registry();
    return [
      ...r.models.map((m): HubEntry => ({
        type: 'model',
        title: m.title,
        repo: m.repo,
        model: m.name,
        kind: null,
        ...stateOfModel(r, m.name),
      })),
      ...r.dictionarySets.map((s): HubEntry => ({
        type: 'dictionaries',
        title: s.title,
        repo: s.repo,
        model: s.model,
        kind: s.kind,
        ...stateOfSet(r, s.name),
      })),
    ];
  }

  private wanted(names: readonly string[]): Wanted[] {
    const r = this.registry();
    return names.map((name): Wanted => {
      if (r.models.some((m) => m.name === name)) return modelNamed(r, name);
      const s = setNamed(r, name);
      return { repo: s.repo, revision: s.revision, files: s.dictionaries.flatMap((d) => d.files) };
    });
  }

  private async online<T>(signal: AbortSignal, job: (place: HubPlace, http: HubFetch) => Promise<T>): Promise<T> {
    const endpoint = endpointOf(this.settings.endpoint || process.env.HF_ENDPOINT || ENDPOINT);
    const place = { endpoint, cache: hubCache(), token: checked(userToken()) };
    const http = this.http(signal);
    try {
      return await job(place, http);
    } finally {
      await http.close();
    }
  }

  /** What Neuronpedia says of a feature of MODEL/SOURCE. Throws DownloadError, CancelledError. */
  async neuronpedia(id: string, feature: number, signal: AbortSignal): Promise<NeuronpediaPage> {
    const base = endpointOf(this.settings.neuronpedia);
    const http = this.http(signal);
    try {
      return await neuronpediaPage(http, base, id, feature);
    } finally {
      await http.close();
    }
  }

  private http(signal: AbortSignal): HubFetch {
    const offline = this.settings.offline || isSet(process.env.HF_HUB_OFFLINE);
    return hubFetch({ offline, proxy: this.settings.proxy, signal, retryMs: this.seams.retryMs });
  }

  private plans(names: readonly string[], place: HubPlace, http: HubFetch): Promise<DownloadPlan> {
    return planDownload(place, http, this.wanted(names), this.seams);
  }

  /** Asks how much would be fetched for models or sets (or NAME/ID), and how much room there is. Throws DownloadError, UsageError. */
  plan(names: readonly string[], signal: AbortSignal): Promise<HubPlan> {
    return this.online(signal, async (place, http) => {
      return summaryOf(await this.plans(names, place, http), place);
    });
  }

  /** Fetches models or sets. Throws DownloadError, CancelledError, UsageError. */
  fetch(
    names: readonly string[],
    o: { signal: AbortSignal; onProgress?: (done: number, total: number, path: string) => void },
  ): Promise<HubPlan> {
    return this.online(o.signal, async (place, http) => {
      const plan = await this.plans(names, place, http);
      await download(place, http, plan, o, this.seams);
      return summaryOf(plan, place);
    });
  }
}
