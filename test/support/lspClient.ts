import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import {
  createProtocolConnection,
  type Diagnostic,
  type ProtocolConnection,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-languageserver/node';
import type { RequestMethod, Requests, ServerSettings, WireStatus } from '../../server/protocol';

const ROOT = join(import.meta.dirname, '..', '..');

export const SETTINGS: ServerSettings = {
  model: 'demo',
  dictionaries: [],
  contract: 'auto',
  provider: 'cpu',
  memoryLimitMB: 512,
  hoverFeatures: 3,
  codeLens: { prompt: true, answers: true, features: true, token: true },
  inlayHints: false,
  labels: '',
  importedLabels: [],
  registry: [],
  hub: { endpoint: '', offline: true, proxy: '', neuronpedia: 'https://www.neuronpedia.org' },
  corpus: { folder: '', contextLength: 128, maxTokens: 1e6 },
};

/** The built server as a real process over stdio, with what it has sent. */
export class Session {
  readonly diagnostics = new Map<string, Diagnostic[]>();
  readonly statuses: WireStatus[] = [];
  readonly progress: { kind: string; title?: string }[] = [];
  readonly logs: string[] = [];
  lensRefreshes = 0;
  private version = 0;
  private watchers = new Set<() => void>();

  private constructor(
    readonly process: ChildProcessByStdio<Writable, Readable, Readable>,
    readonly connection: ProtocolConnection,
  ) {}

  static async start(settings: Partial<ServerSettings> = {}, env: Record<string, string> = {}): Promise<Session> {
    const child = spawn(process.execPath, [join(ROOT, 'dist', 'server.cjs'), '--stdio'], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    const connection = createProtocolConnection(
      new StreamMessageReader(child.stdout),
      new StreamMessageWriter(child.stdin),
    );
    const s = new Session(child, connection);
    child.stderr.on('data', (d: Buffer) => s.logs.push(d.toString()));
    const heard = (f: () => void) => (): void => {
      f();
      for (const w of s.watchers) w();
    };
    connection.onNotification('textDocument/publishDiagnostics', (p: { uri: string; diagnostics: Diagnostic[] }) =>
      heard(() => s.diagnostics.set(p.uri, p.diagnostics))(),
    );
    connection.onNotification('attentionCircuits/status', (p: WireStatus) => heard(() => s.statuses.push(p))());
    connection.onNotification('window/logMessage', (p: { message: string }) => heard(() => s.logs.push(p.message))());
    connection.onNotification('$/progress', (p: { value: { kind: string } }) =>
      heard(() => s.progress.push(p.value))(),
    );
    connection.onRequest('window/workDoneProgress/create', (p: { token: string }) => {
      heard(() => (s.progressToken = p.token))();
      return null;
    });
    connection.onRequest('workspace/codeLens/refresh', () => {
      heard(() => s.lensRefreshes++)();
      return null;
    });
    connection.onRequest('workspace/inlayHint/refresh', () => null);
    // As the editor's client does: what is pending fails when the process is gone.
    connection.onClose(() => connection.dispose());
    connection.listen();
    await connection.sendRequest('initialize', {
      processId: process.pid,
      rootUri: null,
      capabilities: {
        window: { workDoneProgress: true },
        workspace: { codeLens: { refreshSupport: true }, inlayHint: { refreshSupport: true } },
      },
      initializationOptions: { settings: { ...SETTINGS, ...settings }, home: ROOT },
    });
    await connection.sendNotification('initialized', {});
    return s;
  }

  progressToken: string | null = null;

  /** Resolves when the condition holds after something was heard. Fails after 30 s. */
  async until<T>(condition: () => T | undefined | false | null): Promise<T> {
    const now = condition();
    if (now) return now;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.watchers.delete(look);
        reject(new Error(`nothing came; log: ${this.logs.join('\n')}`));
      }, 30_000);
      const look = (): void => {
        const value = condition();
        if (!value) return;
        clearTimeout(timer);
        this.watchers.delete(look);
        resolve(value);
      };
      this.watchers.add(look);
    });
  }

  request<M extends RequestMethod>(method: M, params: Requests[M]['params']): Promise<Requests[M]['result']> {
    return this.connection.sendRequest(method, params);
  }

  async open(uri: string, text: string, languageId = 'prompts'): Promise<void> {
    await this.connection.sendNotification('textDocument/didOpen', {
      textDocument: { uri, languageId, version: ++this.version, text },
    });
  }

  /** Replaces the whole text. */
  async change(uri: string, text: string): Promise<void> {
    await this.connection.sendNotification('textDocument/didChange', {
      textDocument: { uri, version: ++this.version },
      contentChanges: [{ text }],
    });
  }

  async hover(uri: string, line: number, character: number): Promise<string | null> {
    const h = await this.connection.sendRequest<{ contents: { value: string } } | null>('textDocument/hover', {
      textDocument: { uri },
      position: { line, character },
    });
    return h?.contents.value ?? null;
  }

  async lenses(
    uri: string,
  ): Promise<
    { range: { start: { line: number } }; command?: { title: string; command: string; arguments?: unknown[] } }[]
  > {
    return this.connection.sendRequest('textDocument/codeLens', { textDocument: { uri } });
  }

  resolve<T>(lens: T): Promise<T> {
    return this.connection.sendRequest('codeLens/resolve', lens);
  }

  async stop(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => this.process.once('exit', () => resolve()));
    await this.connection.sendRequest('shutdown');
    await this.connection.sendNotification('exit');
    await gone;
  }
}
