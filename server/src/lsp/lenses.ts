/** The lenses of a prompt file: where they stand, and what they say once their prompt is analysed. */
import { type CodeLens, LSPErrorCodes, ResponseError } from 'vscode-languageserver';
import { type TextDocument } from 'vscode-languageserver-textdocument';
import { Commands, type WireToken } from '../../protocol';
import { type Prediction, topPredictions } from '../analyses';
import { CancelledError, EngineError } from '../errors';
import { type FilePrompt } from '../prompts';
import { endLens, explain, featuresLens, type LensData, parseLens, placeLenses, tokenLens } from './codeLens';
import { type ParsedDocuments, refOf, tokenAt, wireTokens } from './documents';
import { type Analysis, type ModelHost } from './modelHost';

/** What the titles of a prompt's lenses are made of. */
interface End {
  tokens: WireToken[];
  next: Prediction['top'][number];
}

export class PromptLenses {
  /** Computed once an analysis: lenses are asked for with every edit. */
  private readonly ends = new WeakMap<Analysis, Promise<End>>();

  constructor(
    private readonly parsed: ParsedDocuments,
    private readonly model: () => ModelHost,
  ) {}

  /**
   * The lenses of a document. Those over prompts that are analysed already have their titles, so that redrawing them shows nothing blank in
   * between; the others get theirs when they are on the screen.
   */
  async of(document: TextDocument, cursor: number | null): Promise<CodeLens[]> {
    const model = this.model();
    const lenses = placeLenses(document, this.parsed.file(document).prompts, cursor, model.settings.codeLens);
    return Promise.all(
      lenses.map(async (lens) => {
        const data = parseLens(lens.data);
        const p = this.parsed.promptAt(document, data.start);
        const kept = p && model.keptOf(refOf(p));
        return kept ? this.titled(lens, data, p, kept) : lens;
      }),
    );
  }

  /** A lens with its title. Fails with ContentModified where the document is another by now. */
  async resolve(
    lens: CodeLens,
    document: (uri: string) => TextDocument | undefined,
    signal: AbortSignal,
  ): Promise<CodeLens> {
    const data = parseLens(lens.data);
    const d = document(data.uri);
    const p = d?.version === data.version ? this.parsed.promptAt(d, data.start) : null;
    if (!p) throw new ResponseError(LSPErrorCodes.ContentModified, 'the document has changed');
    try {
      return await this.titled(lens, data, p, await this.model().analyse(refOf(p), 'visible', signal));
    } catch (e) {
      if (e instanceof CancelledError || !(e instanceof EngineError)) throw e;
      const broken = this.model().status.phase === 'failed';
      const title = data.kind === 'next' || data.kind === 'answers' ? `Cannot analyse: ${e.message}` : '';
      return { ...lens, command: { title, command: broken ? Commands.chooseModel : '' } };
    }
  }

  private endOf(a: Analysis): Promise<End> {
    const have = this.ends.get(a);
    if (have) return have;
    const tokens = wireTokens(a.engine, a.prompt);
    const end = a.run
      .logitsAt(tokens.length - 1)
      .then(({ logits }) => ({ tokens, next: topPredictions(logits, 1, a.engine)[0] }));
    this.ends.set(a, end);
    return end;
  }

  private async titled(lens: CodeLens, data: LensData, p: FilePrompt, a: Analysis): Promise<CodeLens> {
    const input = { data, prompt: refOf(p), answers: p.answers };
    const { tokens, next } = await this.endOf(a);
    if (data.kind === 'features') return { ...lens, command: featuresLens(input, tokens.length - 1) };
    if (data.kind === 'token') {
      const t = tokenAt(tokens, data.offset ?? 0);
      return { ...lens, command: t ? tokenLens(input, t) : explain('') };
    }
    return { ...lens, command: endLens(input, a.engine, tokens, next) };
  }
}
