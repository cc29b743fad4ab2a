import * as vscode from 'vscode';
import {
  CloseAction,
  type CloseHandlerResult,
  ErrorAction,
  ErrorCodes,
  LanguageClient,
  type LanguageClientOptions,
  ResponseError,
  type ServerOptions,
  State,
  TransportKind,
} from 'vscode-languageclient/node';
import {
  type ClientNotifications,
  Commands,
  type InitializationOptions,
  LANGUAGE,
  type RequestMethod,
  type Requests,
  SECTION,
  type WireStatus,
} from '../../server/protocol';
import { log, showError } from './log';
import { serverSettings, setting } from './settings';

const MAX_RESTARTS = 4;
const RESTART_WINDOW_MS = 3 * 60_000;

/** Codes of requests that could not be sent or are not answered any more. */
const UNANSWERED: ReadonlySet<number> = new Set([
  ErrorCodes.PendingResponseRejected,
  ErrorCodes.ConnectionInactive,
  ErrorCodes.MessageWriteError,
]);

/** Whether a request has no answer because the process ended. */
const hasDied = (e: unknown): boolean => e instanceof ResponseError && UNANSWERED.has(e.code);

export const IDLE: WireStatus = {
  phase: 'idle',
  model: null,
  path: null,
  provider: null,
  sites: [],
  n_layers: 0,
  n_heads: 0,
  n_ctx: 0,
  pid: null,
  memory: 0,
  prompts: 0,
  message: null,
};

/** Owns the language server's process: starts it when first needed, restarts it a bounded number of times, and passes requests. */
export class Server implements vscode.Disposable {
  private client: LanguageClient | null = null;
  private starting: Promise<LanguageClient> | null = null;
  private crashes: number[] = [];
  private readonly statusEmitter = new vscode.EventEmitter<WireStatus>();
  private readonly startEmitter = new vscode.EventEmitter<void>();
  private readonly endEmitter = new vscode.EventEmitter<void>();
  /** The process ended and is not started again by itself. */
  private ended = false;
  /** The model's state changed. */
  readonly onStatus = this.statusEmitter.event;
  /** A process is up: the first, or one after a crash. */
  readonly onDidStart = this.startEmitter.event;
  status: WireStatus = IDLE;

  constructor(private readonly context: vscode.ExtensionContext) {}

  get running(): boolean {
    return this.client?.state === State.Running;
  }

  private setStatus(status: WireStatus): void {
    this.status = status;
    this.statusEmitter.fire(status);
  }

  /** Starts the process if it is not running. */
  start(): Promise<LanguageClient> {
    this.starting ??= this.launch().catch((e: unknown) => {
      this.starting = null;
      throw e;
    });
    return this.starting;
  }

  private serverOptions(): ServerOptions {
    const module = this.context.asAbsolutePath('dist/server.cjs');
    const runtime = setting<string>('server.nodePath').trim() || undefined;
    const execArgv = setting<string[]>('server.arguments');
    const run = { module, transport: TransportKind.ipc, runtime, options: { execArgv } };
    return { run, debug: { ...run, options: { execArgv: [...execArgv, '--nolazy', '--inspect=6019'] } } };
  }

  private async launch(): Promise<LanguageClient> {
    const initializationOptions: InitializationOptions = {
      settings: serverSettings(),
      home: this.context.extensionPath,
    };
    const options: LanguageClientOptions = {
      documentSelector: [LANGUAGE, ...(setting<boolean>('python.enabled') ? ['python', 'markdown'] : [])].map(
        (language) => ({
          language,
        }),
      ),
      outputChannel: log(),
      initializationOptions: () => ({ ...initializationOptions, settings: serverSettings() }),
      markdown: { isTrusted: { enabledCommands: Object.values(Commands) }, supportHtml: false },
      errorHandler: { error: () => ({ action: ErrorAction.Continue }), closed: () => this.closed() },
      initializationFailedHandler: () => false,
    };
    const client = new LanguageClient(SECTION, 'Attention Circuits', this.serverOptions(), options);
    client.onNotification('attentionCircuits/status', (s: WireStatus) => this.setStatus(s));
    client.onDidChangeState(({ newState }) => {
      if (newState === State.Running) {
        this.ended = false;
        // A new process has loaded nothing yet; panels whose requests failed with the old one ask again.
        if (this.status.phase !== 'idle' || this.status.message !== null) this.setStatus(IDLE);
        this.startEmitter.fire();
      } else if (newState !== State.Starting && this.client === client) {
        // Stopped is also what a client is for a moment before it starts again.
        if (newState === State.StartFailed) this.end();
        this.setStatus({ ...IDLE, phase: 'failed', message: 'the server is not running' });
      }
    });
    this.client = client;
    await client.start();
    return client;
  }

  private end(): void {
    this.ended = true;
    this.endEmitter.fire();
  }

  /** Resolves when a process is up in place of one that ended. Rejects when none will be. */
  private replaced(): Promise<void> {
    if (this.running) return Promise.resolve();
    const none = new Error(
      'the server stopped and is not running; restart it with “Attention Circuits: Restart Server”.',
    );
    if (this.ended) return Promise.reject(none);
    return new Promise((resolve, reject) => {
      const listeners = [
        this.onDidStart(() => settle(resolve)),
        this.endEmitter.event(() => settle(() => reject(none))),
      ];
      const settle = (how: () => void): void => {
        for (const l of listeners) l.dispose();
        how();
      };
    });
  }

  /** What to do when the process ended by itself: restart, but not for ever. */
  private closed(): CloseHandlerResult {
    const now = Date.now();
    this.crashes = [...this.crashes.filter((t) => now - t < RESTART_WINDOW_MS), now];
    this.setStatus({ ...IDLE, phase: 'failed', message: 'the server stopped unexpectedly' });
    if (this.crashes.length > MAX_RESTARTS) {
      this.end();
      const message = `the server stopped ${this.crashes.length} times within three minutes and is not started again.`;
      void showError(message, { title: 'Restart', run: () => this.restart() });
      return { action: CloseAction.DoNotRestart, handled: true };
    }
    log().warn(
      `the server stopped unexpectedly (${this.crashes.length} of ${MAX_RESTARTS} before giving up); restarting`,
    );
    void vscode.window
      .showWarningMessage('Attention Circuits: the server stopped and was restarted.', 'Show Log')
      .then((b) => b && log().show());
    return { action: CloseAction.Restart, handled: true };
  }

  /** Stops the process and starts a new one. */
  async restart(): Promise<void> {
    this.crashes = [];
    const old = this.client;
    this.client = null;
    this.starting = null;
    await old?.dispose().catch((e: Error) => log().warn(`stopping: ${e.message}`));
    await this.start();
  }

  /**
   * Asks the server. When its process ends before it has answered, asks the next one, once: a request holds all it needs, and one that changes
   * something leaves the same when it is carried out twice.
   */
  async request<M extends RequestMethod>(
    method: M,
    params: Requests[M]['params'],
    token?: vscode.CancellationToken,
  ): Promise<Requests[M]['result']> {
    try {
      return await this.ask(method, params, token);
    } catch (e) {
      if (!hasDied(e) || token?.isCancellationRequested === true) throw e;
      await this.replaced();
      return await this.ask(method, params, token).catch((again: unknown) => {
        throw hasDied(again)
          ? new Error('the server stopped twice while it worked on this; its log says more.')
          : again;
      });
    }
  }

  private async ask<M extends RequestMethod>(
    method: M,
    params: Requests[M]['params'],
    token?: vscode.CancellationToken,
  ): Promise<Requests[M]['result']> {
    const client = await this.start();
    // An undefined token would travel as a second parameter.
    return token
      ? client.sendRequest<Requests[M]['result']>(method, params, token)
      : client.sendRequest<Requests[M]['result']>(method, params);
  }

  /** Sends a notification; dropped while no process runs. */
  async notify<N extends keyof ClientNotifications>(method: N, params: ClientNotifications[N]): Promise<void> {
    if (this.running) await this.client?.sendNotification(method, params);
  }

  async dispose(): Promise<void> {
    this.statusEmitter.dispose();
    this.startEmitter.dispose();
    this.endEmitter.dispose();
    await this.client?.dispose().catch(() => undefined);
  }
}
