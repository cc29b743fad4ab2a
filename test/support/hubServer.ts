/** The Hugging Face Hub's protocol on loopback, as far as downloads use it, with what can go wrong. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export const COMMIT = '0123456789abcdef0123456789abcdef01234567';

/** What a request asks for, and a chance to answer it otherwise. */
export interface Asked {
  method: string;
  path: string;
  range: string | null;
  authorization: string | null;
}

export interface HubServer {
  url: string;
  requests: Asked[];
  /** Answers a request itself by returning true. */
  misbehave: ((asked: Asked, response: ServerResponse) => boolean) | null;
  close(): Promise<void>;
}

type Repos = Readonly<Record<string, Readonly<Record<string, Buffer>>>>;

const sha256 = (b: Buffer): string => createHash('sha256').update(b).digest('hex');
const gitOid = (b: Buffer): string => createHash('sha1').update(`blob ${b.length}\0`).update(b).digest('hex');
const isLarge = (path: string): boolean => /\.(safetensors|pt|bin)$/.test(path);

/** Size and hashes of a file, as `paths-info` gives them. */
export const infoOf = (path: string, b: Buffer): object => ({
  type: 'file',
  path,
  size: b.length,
  oid: gitOid(b),
  ...(isLarge(path) ? { lfs: { oid: sha256(b), size: b.length, pointerSize: 134 } } : {}),
});

const body = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const p of request) parts.push(p as Buffer);
  return Buffer.concat(parts).toString();
};

function send(response: ServerResponse, file: Buffer, range: string | null): void {
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? [];
  const start = Number(from ?? 0);
  const end = to ? Math.min(Number(to) + 1, file.length) : file.length;
  response.writeHead(range === null ? 200 : 206, {
    'content-length': end - start,
    etag: `"${sha256(file)}"`,
    ...(range === null ? {} : { 'content-range': `bytes ${start}-${end - 1}/${file.length}` }),
  });
  response.end(file.subarray(start, end));
}

async function answer(repos: Repos, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://hub');
  const json = (value: unknown): void => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  const [, api, owner, name, verb] = /^\/(api\/models\/)?([^/]+)\/([^/]+)\/([^/]+)\//.exec(url.pathname) ?? [];
  const repo = repos[`${owner}/${name}`];
  if (repo && api && verb === 'revision')
    return json({ _id: '1', id: `${owner}/${name}`, sha: COMMIT, private: false });
  if (repo && api && verb === 'paths-info') {
    const { paths } = JSON.parse(await body(request)) as { paths: string[] };
    return json(paths.filter((p) => p in repo).map((p) => infoOf(p, repo[p])));
  }
  if (repo && verb === 'resolve') {
    const path = url.pathname.split('/').slice(5).join('/');
    const file = repo[decodeURIComponent(path)];
    if (file) return send(response, file, request.headers.range ?? null);
  }
  response.writeHead(404).end('not found');
}

/** Serves files of repositories at one commit. */
export async function startHub(repos: Repos): Promise<HubServer> {
  const hub: Pick<HubServer, 'requests' | 'misbehave'> = { requests: [], misbehave: null };
  const server: Server = createServer((request, response) => {
    const asked: Asked = {
      method: request.method ?? '',
      path: new URL(request.url ?? '/', 'http://hub').pathname,
      range: request.headers.range ?? null,
      authorization: request.headers.authorization ?? null,
    };
    hub.requests.push(asked);
    if (hub.misbehave?.(asked, response)) return;
    answer(repos, request, response).catch((e: Error) => response.writeHead(500).end(e.message));
  });
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    hub.requests.push({ method: 'CONNECT', path: request.url ?? '', range: null, authorization: null });
    socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return Object.assign(hub, {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise<void>((done) => {
        server.closeAllConnections();
        server.close(() => done());
      }),
  });
}
