import {
  type CancellationToken,
  type Connection,
  type InitializeParams,
  type InitializeResult,
  LSPErrorCodes,
  MarkupKind,
  ResponseError,
  TextDocuments,
  TextDocumentSyncKind,
} from 'vscode-languageserver';
import { TextDocument } from 'vscode-languageserver-textdocument';
import { z } from 'zod';
import { Commands, type RequestMethod, type ServerSettings } from '../../protocol';
import { topPredictions } from '../analyses';
import { CancelledError, EngineError, UsageError } from '../errors';
import { offsetInText, placeInFile } from '../prompts';
import { quote, percent } from '../text';
import { sourceLenses } from './codeLens';
import { PromptDiagnostics, syntaxDiagnostics } from './diagnostics';
import { isPromptFile, locate, MAX_LENSED, ParsedDocuments, refOf, tokenAt, wireTokens } from './documents';
import { answerCompletions, answerStart, codeActions, directiveCompletions } from './editing';
import { hoverMarkdown, wireFeatures } from './hover';
import { PromptLenses } from './lenses';
import { escapeMarkdown } from './markdown';
import { ModelHost, type ProgressSink } from './modelHost';
import { type OpenPrompts, requestHandlers } from './requests';
import { schemas } from './schemas';
import { documentSymbols, foldingRanges } from './structure';

const settingsSchema = z.object({
  model: z.string(),
  dictionaries: z.array(z.string()),
  contract: z.enum(['auto', 'default', 'none']),
  provider: z.enum(['auto', 'cpu', 'webgpu', 'cuda']),
  memoryLimitMB: z.number().min(1),
  hoverFeatures: z.number().int().min(1).max(50),
  codeLens: z.object({ prompt: z.boolean(), answers: z.boolean(), features: z.boolean(), token: z.boolean() }),
  inlayHints: z.boolean(),
  labels: z.string(),
  importedLabels: z.array(z.string()),
  registry: z.array(z.string()),
  hub: z.object({ endpoint: z.string(), offline: z.boolean(), proxy: z.string(), neuronpedia: z.string() }),
  corpus: z.object({
    folder: z.string(),
    contextLength: z.number().int().min(2),
    maxTokens: z.number().int().min(1),
  }),
}) satisfies z.ZodType<ServerSettings>;

const optionsSchema = z.object({ settings: settingsSchema, home: z.string() });

/** How long a hover waits for the model before it says that the model is loading. */
const HOVER_PATIENCE_MS = 3000;
const DIAGNOSTICS_DELAY_MS = 150;
const STATUS_INTERVAL_MS = 5000;

/** An AbortSignal that follows a protocol cancellation. */
function signalOf(token: CancellationToken): AbortSignal {
  const controller = new AbortController();
  if (token.isCancellationRequested) controller.abort();
  token.onCancellationRequested(() => controller.abort());
  return controller.signal;
}

/** Errors as the protocol carries them: cancellation by its own code, expected failures by their sentence. */
function toResponseError(e: unknown): Error {
  if (e instanceof CancelledError) return new ResponseError(LSPErrorCodes.RequestCancelled, 'cancelled');
  if (e instanceof EngineError) return new ResponseError(LSPErrorCodes.RequestFailed, e.message, { name: e.name });
  return e instanceof Error ? e : new Error(String(e));
}

/** The language server on one connection. */
export class LanguageServer {
  private readonly documents = new TextDocuments(TextDocument);
  private readonly parsed = new ParsedDocuments();
  private readonly lenses = new PromptLenses(this.parsed, () => this.model);
  private readonly promptDiagnostics = new PromptDiagnostics();
  private readonly pendingDiagnostics = new Map<string, { timer?: NodeJS.Timeout; abort: AbortController }>();
  private host: ModelHost | null = null;
  private cursor: { uri: string; offset: number } | null = null;
  /** Prompt and token under the cursor when lenses were last placed for it. */
  private cursorToken = '';
  private hoverDetails = false;
  private canProgress = false;
  private canRefresh = { codeLens: false, inlayHint: false };

  constructor(private readonly connection: Connection) {
    connection.onInitialize((p) => this.initialize(p));
    connection.onInitialized(() => this.watchMemory());
    connection.onShutdown(() => this.host?.drop());
    this.features();
    this.requests();
    this.documents.onDidChangeContent(({ document }) => this.diagnose(document.uri, DIAGNOSTICS_DELAY_MS));
    this.documents.onDidClose(({ document }) => this.forget(document.uri));
    this.documents.listen(connection);
  }

  private get model(): ModelHost {
    if (!this.host) throw new ResponseError(LSPErrorCodes.ServerCancelled, 'the server is not initialized');
    return this.host;
  }

  private log(line: string): void {
    this.connection.console.info(line);
  }

  private initialize(p: InitializeParams): InitializeResult {
    const options = optionsSchema.parse(p.initializationOptions);
    this.canProgress = p.capabilities.window?.workDoneProgress === true;
    this.canRefresh = {
      codeLens: p.capabilities.workspace?.codeLens?.refreshSupport === true,
      inlayHint: p.capabilities.workspace?.inlayHint?.refreshSupport === true,
    };
    let phase = '';
    this.host = new ModelHost({
      ...options,
      log: (line) => this.log(line),
      progress: (title) => this.progress(title),
      onStatus: (status) => {
        void this.connection.sendNotification('attentionCircuits/status', status);
        if (status.phase !== phase && status.phase !== 'loading') this.refresh();
        phase = status.phase;
      },
    });
    return {
      serverInfo: { name: 'attention-circuits' },
      capabilities: {
        textDocumentSync: TextDocumentSyncKind.Incremental,
        hoverProvider: true,
        codeLensProvider: { resolveProvider: true },
        documentSymbolProvider: true,
        foldingRangeProvider: true,
        completionProvider: { triggerCharacters: ['@', '>', '|', '"'] },
        inlayHintProvider: true,
        codeActionProvider: { codeActionKinds: ['quickfix', 'refactor.rewrite'] },
      },
    };
  }

  /** The process's memory goes into the status now and then, without waking anything else. */
  private watchMemory(): void {
    setInterval(() => {
      if (this.host?.ready) void this.connection.sendNotification('attentionCircuits/status', this.host.status);
    }, STATUS_INTERVAL_MS).unref();
  }

  private async progress(title: string): Promise<ProgressSink> {
    const controller = new AbortController();
    if (!this.canProgress) return { report: () => undefined, done: () => undefined, signal: controller.signal };
    const p = await this.connection.window.createWorkDoneProgress();
    p.begin(title, 0, undefined, true);
    p.token.onCancellationRequested(() => controller.abort());
    return {
      report: (message, fraction) => p.report(fraction === undefined ? 0 : Math.round(100 * fraction), message),
      done: () => p.done(),
      signal: controller.signal,
    };
  }

  /** The model came or went: what was shown without it is asked for again. */
  private refresh(): void {
    this.refreshLenses();
    if (this.canRefresh.inlayHint) this.connection.languages.inlayHint.refresh().catch(() => undefined);
    for (const d of this.documents.all()) this.diagnose(d.uri, 0);
  }

  private refreshLenses(): void {
    if (this.canRefresh.codeLens) {
      this.connection.sendRequest('workspace/codeLens/refresh').catch((e: Error) => this.log(`refresh: ${e.message}`));
    }
  }

  private forget(uri: string): void {
    const pending = this.pendingDiagnostics.get(uri);
    clearTimeout(pending?.timer);
    pending?.abort.abort();
    this.pendingDiagnostics.delete(uri);
    void this.connection.sendDiagnostics({ uri, diagnostics: [] });
  }

  /** Reports problems of a document: syntax soon, what the tokenizer says when the model is there. A newer call replaces an older one. */
  private diagnose(uri: string, delay: number): void {
    const old = this.pendingDiagnostics.get(uri);
    clearTimeout(old?.timer);
    old?.abort.abort();
    const abort = new AbortController();
    const timer = setTimeout(() => {
      this.report(uri, abort.signal).catch((e: unknown) => {
        if (!(e instanceof CancelledError)) this.log(`diagnostics of ${uri}: ${(e as Error).message}`);
      });
    }, delay);
    this.pendingDiagnostics.set(uri, { timer, abort });
  }

  private async report(uri: string, signal: AbortSignal): Promise<void> {
    const document = this.documents.get(uri);
    if (!document || !isPromptFile(document)) return;
    const { version } = document;
    const syntax = syntaxDiagnostics(document, this.parsed);
    const engine = this.model.ready;
    if (!engine) return void (await this.connection.sendDiagnostics({ uri, version, diagnostics: syntax }));
    const found = await this.model.scheduler.run('batch', signal, (turn) =>
      this.promptDiagnostics.of(document, this.parsed.file(document).prompts, engine, () => turn.breathe()),
    );
    if (document.version !== version || signal.aborted) return;
    await this.connection.sendDiagnostics({ uri, version, diagnostics: [...syntax, ...found] });
  }

  private features(): void {
    const { connection } = this;
    const failed = (e: unknown): never => {
      throw toResponseError(e);
    };
    connection.onHover((p, token) => {
      const document = this.documents.get(p.textDocument.uri);
      return document ? this.hover(document, document.offsetAt(p.position), signalOf(token)).catch(failed) : null;
    });
    connection.onCodeLens((p) => {
      const document = this.documents.get(p.textDocument.uri);
      if (!document) return [];
      if (!isPromptFile(document)) return sourceLenses(document, this.parsed.source(document));
      const cursor = this.cursor?.uri === document.uri ? this.cursor.offset : null;
      return this.lenses.of(document, cursor).catch(failed);
    });
    connection.onCodeLensResolve((lens, token) =>
      this.lenses.resolve(lens, (uri) => this.documents.get(uri), signalOf(token)).catch(failed),
    );
    connection.onDocumentSymbol((p) => {
      const document = this.documents.get(p.textDocument.uri);
      return document && isPromptFile(document) ? documentSymbols(document, this.parsed.file(document).prompts) : [];
    });
    connection.onFoldingRanges((p) => {
      const document = this.documents.get(p.textDocument.uri);
      return document && isPromptFile(document) ? foldingRanges(document, this.parsed.file(document).prompts) : [];
    });
    connection.onCompletion((p, token) => this.complete(p.textDocument.uri, p.position, signalOf(token)).catch(failed));
    connection.onCodeAction((p) => {
      const document = this.documents.get(p.textDocument.uri);
      const own = document && isPromptFile(document);
      const at = own && this.parsed.promptAt(document, document.offsetAt(p.range.start));
      return at ? codeActions(document, at, this.parsed.file(document).prompts, p.context.diagnostics) : [];
    });
    connection.languages.inlayHint.on((p, token) =>
      this.inlayHints(p.textDocument.uri, p.range, signalOf(token)).catch(failed),
    );
  }

  private async hover(
    document: TextDocument,
    offset: number,
    signal: AbortSignal,
  ): Promise<{ contents: { kind: MarkupKind; value: string } } | null> {
    const p = this.parsed.promptAt(document, offset);
    // Moving over code loads no model.
    if (!p || (!isPromptFile(document) && !this.model.ready)) return null;
    const markdown = (value: string): { contents: { kind: MarkupKind; value: string } } => ({
      contents: { kind: MarkupKind.Markdown, value },
    });
    let late: NodeJS.Timeout | undefined;
    const patience = new Promise<null>((resolve) => {
      late = setTimeout(() => resolve(null), HOVER_PATIENCE_MS);
    });
    try {
      const a = await Promise.race([this.model.analyse(refOf(p), 'interactive', signal), patience]);
      if (a === null) {
        const { phase, message } = this.model.status;
        return markdown(escapeMarkdown(phase === 'loading' && message !== null ? message : 'Still computing …'));
      }
      const token = tokenAt(wireTokens(a.engine, a.prompt), offsetInText(p, offset));
      if (!token) return null;
      const { logits } = await a.run.logitsAt(token.position);
      const features = await wireFeatures(a, token.position, this.model.settings.hoverFeatures, (site, feature) =>
        this.model.labelOf(a.engine, site, feature),
      );
      const predictions = topPredictions(logits, 4, a.engine);
      return markdown(
        hoverMarkdown({
          uri: document.uri,
          offset: p.start,
          token,
          predictions,
          features,
          details: this.hoverDetails,
        }),
      );
    } catch (e) {
      if (e instanceof EngineError && !(e instanceof CancelledError)) {
        return markdown(`${escapeMarkdown(e.message)}\n\n[Choose a model](command:${Commands.chooseModel})`);
      }
      throw e;
    } finally {
      clearTimeout(late);
    }
  }

  private async complete(
    uri: string,
    position: { line: number; character: number },
    signal: AbortSignal,
  ): Promise<ReturnType<typeof directiveCompletions>> {
    const document = this.documents.get(uri);
    if (!document || !isPromptFile(document)) return [];
    const start = { line: position.line, character: 0 };
    const line = document.getText({ start, end: { line: position.line, character: Number.MAX_SAFE_INTEGER } });
    if (line.startsWith('@')) return directiveCompletions({ start, end: position });
    if (!line.startsWith('->') || position.character < 2) return [];
    const before = this.parsed.file(document).prompts.findLast((p) => p.start < document.offsetAt(start));
    if (!before) return [];
    const a = await this.model.analyse(refOf(before), 'interactive', signal);
    const { logits } = await a.run.logitsAt(a.prompt.tokens.length - 1);
    const typed = { start: { ...start, character: answerStart(line, position.character) }, end: position };
    return answerCompletions(typed, topPredictions(logits, 15, a.engine));
  }

  private async inlayHints(
    uri: string,
    range: { start: { line: number }; end: { line: number } },
    signal: AbortSignal,
  ): Promise<
    { position: { line: number; character: number }; label: string; paddingLeft: boolean; tooltip: string }[]
  > {
    const document = this.documents.get(uri);
    if (!document || !isPromptFile(document) || !this.model.settings.inlayHints) return [];
    const hints = [];
    for (const p of this.parsed.file(document).prompts.slice(0, MAX_LENSED)) {
      const position = document.positionAt(p.start + p.text.length);
      if (position.line < range.start.line || position.line > range.end.line) continue;
      try {
        const a = await this.model.analyse(refOf(p), 'visible', signal);
        const [top] = topPredictions((await a.run.logitsAt(a.prompt.tokens.length - 1)).logits, 1, a.engine);
        const label = `→ ${quote(top.text ?? String(top.id))} ${percent(top.probability)}`;
        hints.push({ position, label, paddingLeft: true, tooltip: 'Likeliest next token' });
      } catch (e) {
        if (e instanceof CancelledError || !(e instanceof EngineError)) throw e;
      }
    }
    return hints;
  }

  private openPrompts(): OpenPrompts {
    const need = (uri: string): TextDocument => {
      const d = this.documents.get(uri);
      if (!d) throw new UsageError(`${uri} is not open`);
      return d;
    };
    return {
      file: (uri) => this.parsed.file(need(uri)).prompts,
      all: () =>
        this.documents
          .all()
          .filter(isPromptFile)
          .flatMap((d) => this.parsed.file(d).prompts.map((p) => ({ uri: d.uri, prompt: refOf(p) }))),
      of: (uri) => {
        const d = need(uri);
        const prompts = this.parsed
          .file(d)
          .prompts.map((p) => ({ prompt: refOf(p), placeOf: (at: number) => placeInFile(p, at) }));
        return { version: d.version, prompts };
      },
      locate: (uri, offset) => {
        const d = this.documents.get(uri);
        return d ? locate(this.parsed, d, (p) => this.model.tokensOf(p), offset) : null;
      },
    };
  }

  private requests(): void {
    let handlers: ReturnType<typeof requestHandlers> | null = null;
    const register = <M extends RequestMethod>(method: M): void => {
      this.connection.onRequest(method, async (raw: unknown, token: CancellationToken) => {
        handlers ??= requestHandlers(this.model, this.openPrompts());
        const params = schemas[method].safeParse(raw);
        if (!params.success) return new ResponseError(-32602, `${method}: ${z.prettifyError(params.error)}`);
        try {
          return await handlers[method](params.data, signalOf(token));
        } catch (e) {
          const error = toResponseError(e);
          if (error instanceof ResponseError) return error;
          throw error;
        }
      });
    };
    for (const method of Object.keys(schemas) as RequestMethod[]) register(method);
    this.connection.onNotification('attentionCircuits/cursor', (raw: unknown) => {
      const at = z.object({ uri: z.string(), offset: z.number() }).nullable().safeParse(raw);
      if (at.success) this.moveCursor(at.data);
    });
    this.connection.onNotification('attentionCircuits/hoverDetails', (raw: unknown) => {
      this.hoverDetails = z.object({ open: z.boolean() }).safeParse(raw).data?.open ?? false;
    });
    this.connection.onNotification('attentionCircuits/settings', (raw: unknown) => {
      const settings = settingsSchema.safeParse(raw);
      if (!settings.success) return this.log(`settings: ${z.prettifyError(settings.error)}`);
      this.model.configure(settings.data).then(
        () => this.refresh(),
        (e: Error) => this.log(`settings: ${e.message}`),
      );
    });
  }

  /** Lenses are placed anew only when the cursor enters another prompt or token. */
  private moveCursor(at: { uri: string; offset: number } | null): void {
    this.cursor = at;
    const d = at && this.documents.get(at.uri);
    const p = d && this.parsed.promptAt(d, at.offset);
    const found = p && locate(this.parsed, d, (x) => this.model.tokensOf(x), at.offset);
    const token = p ? `${at.uri} ${p.start} ${found?.token.position}` : '';
    if (token !== this.cursorToken) this.refreshLenses();
    this.cursorToken = token;
  }
}
