/** The lenses of a prompt file: where they stand, and what they say once their prompt is analysed. */
import { type CodeLens, LSPErrorCodes, ResponseError } from 'vscode-languageserver';
import { type TextDocument } from 'vscode-languageserver-textdocument';
import { Commands } from '../../protocol';
import { topPredictions } from '../analyses';
import { CancelledError, EngineError } from '../errors';
import { type FilePrompt } from '../prompts';
import { endLens, explain, featuresLens, type LensData, parseLens, placeLenses, tokenLens } from './codeLens';
import { type ParsedDocuments, refOf, tokenAt, wireTokens } from './documents';
import { type Analysis, type ModelHost } from './modelHost';

export class PromptLenses {
  constructor(
    private readonly parsed: ParsedDocuments,
    private readonly model: () => ModelHost,
  ) {}

  /**
   * The lenses of a document. Those over prompts that are analysed already have their titles, so that redrawing them shows nothing blank in
   * between; the others get theirs when they are on the screen.
   */
  async of(document: TextDocument, cursor: number | null, signal: AbortSignal): Promise<CodeLens[]> {
    const model = this.model();
    const lenses = placeLenses(document, this.parsed.file(document).prompts, cursor, model.settings.codeLens);
    return Promise.all(
      lenses.map(async (lens) => {
        const data = parseLens(lens.data);
        const p = this.parsed.promptAt(document, data.start);
        return p && model.keeps(refOf(p)) ? this.titled(lens, data, p, signal).catch(() => lens) : lens;
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
    return this.titled(lens, data, p, signal);
  }

  private async titled(lens: CodeLens, data: LensData, p: FilePrompt, signal: AbortSignal): Promise<CodeLens> {
    const input = { data, prompt: refOf(p), answers: p.answers };
    let a: Analysis;
    try {
      a = await this.model().analyse(input.prompt, 'visible', signal);
    } catch (e) {
      if (e instanceof CancelledError || !(e instanceof EngineError)) throw e;
      const broken = this.model().status.phase === 'failed';
      const title = data.kind === 'next' || data.kind === 'answers' ? `Cannot analyse: ${e.message}` : '';
      return { ...lens, command: { title, command: broken ? Commands.chooseModel : '' } };
    }
    const tokens = wireTokens(a.engine, a.prompt);
    const last = tokens.length - 1;
    if (data.kind === 'features') return { ...lens, command: featuresLens(input, last) };
    if (data.kind === 'token') {
      const t = tokenAt(tokens, data.offset ?? 0);
      return { ...lens, command: t ? tokenLens(input, t) : explain('') };
    }
    const { logits } = await a.run.logitsAt(last);
    return { ...lens, command: endLens(input, a.engine, tokens, topPredictions(logits, 1, a.engine)[0]) };
  }
}
