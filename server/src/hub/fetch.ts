import { setTimeout as sleep } from 'node:timers/promises';
import { getProxyForUrl } from 'proxy-from-env';
import { Agent, fetch as undiciFetch, ProxyAgent, type RequestInit as UndiciInit } from 'undici';
import { CancelledError, DownloadError, throwIfCancelled } from '../errors';

export interface HubFetchOptions {
  /** Refuses every request. */
  offline: boolean;
  /** A proxy for all requests; empty for that of the environment (HTTPS_PROXY, NO_PROXY). */
  proxy: string;
  signal: AbortSignal;
  /** First wait before a request is repeated; doubled each time. */
  retryMs?: number;
}

/** A `fetch` for the Hub's library that keeps the reason of its last failure, which the library loses while it streams. */
export interface HubFetch {
  fetch: typeof fetch;
  failure(): DownloadError | null;
  close(): Promise<void>;
}

const RETRIES = 4;
const RETRY_MS = 500;
const LONGEST_WAIT_MS = 60_000;
const HEADERS_MS = 30_000;

/** What a status means to a person. */
function reasonOf(status: number): string {
  if (status === 401 || status === 403)
    return 'access is refused; the repository may need a token (HF_TOKEN, or the file token in HF_HOME) of an account that has accepted its terms';
  if (status === 404) return 'there is no such repository, revision or file (or it is private)';
  if (status === 429) return 'too many requests; try again later';
  return status >= 500 ? 'the server failed' : 'the server refused';
}

/** How long a server asks to wait, in ms, or null. */
function askedWait(header: string | null): number | null {
  if (header === null) return null;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? 1000 * seconds : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, Math.min(ms, LONGEST_WAIT_MS)) : null;
}

const causeOf = (e: unknown): string => {
  const error = e as Error & { cause?: Error & { code?: string } };
  return error.cause?.code ?? error.cause?.message ?? error.message;
};

/**
 * Requests through the proxy, repeated after 429 and failures of the server (with the wait it asks for), ended by the signal. Throws
 * DownloadError with the address, status and meaning; CancelledError.
 */
export function hubFetch(o: HubFetchOptions): HubFetch {
  const timeouts = { headersTimeout: HEADERS_MS, bodyTimeout: HEADERS_MS };
  const dispatchers = new Map<string, Agent | ProxyAgent>();
  const dispatcherFor = (url: string): Agent | ProxyAgent => {
    const uri = o.proxy === '' ? getProxyForUrl(url) : o.proxy;
    const dispatcher =
      dispatchers.get(uri) ?? (uri === '' ? new Agent(timeouts) : new ProxyAgent({ uri, ...timeouts }));
    dispatchers.set(uri, dispatcher);
    return dispatcher;
  };
  let failure: DownloadError | null = null;
  const fail = (url: string, status: number | null, reason: string): DownloadError =>
    (failure = new DownloadError(url, status, reason));

  const once = async (url: string, init: RequestInit | undefined): Promise<Response> => {
    // A proxy may leave a request without any answer; the dispatcher's own limits begin later.
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(new Error('no answer')), HEADERS_MS);
    try {
      const response: unknown = await undiciFetch(url, {
        ...(init as UndiciInit),
        dispatcher: dispatcherFor(url),
        signal: AbortSignal.any([o.signal, patience.signal]),
      });
      return response as Response;
    } catch (e) {
      throwIfCancelled(o.signal);
      throw fail(url, null, `no connection (${causeOf(e)})`);
    } finally {
      clearTimeout(timer);
    }
  };

  const request = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const url = input instanceof Request ? input.url : String(input);
    if (o.offline) throw fail(url, null, 'offline: the setting (or HF_HUB_OFFLINE) forbids requests');
    for (let attempt = 0; ; attempt++) {
      const response = await once(url, init);
      if (response.ok) return response;
      const { status } = response;
      await response.body?.cancel();
      const again = status === 429 || status >= 500;
      if (!again || attempt >= RETRIES) throw fail(url, status, reasonOf(status));
      const wait = askedWait(response.headers.get('retry-after')) ?? (o.retryMs ?? RETRY_MS) * 2 ** attempt;
      await sleep(wait, undefined, { signal: o.signal }).catch(() => {
        throw new CancelledError();
      });
    }
  };
  return {
    fetch: request,
    failure: () => failure,
    close: async () => void (await Promise.all([...dispatchers.values()].map((d) => d.destroy()))),
  };
}
