import {
  type AttributeArguments,
  Commands,
  type OpenFeatureArguments,
  type RootRef,
  type ShowFeaturesArguments,
  type WireFeature,
  type WireToken,
} from '../../protocol';
import { featuresAt } from '../analyses';
import { type Prediction } from '../analyses';
import { percent } from '../text';
import { commandLink, escapeMarkdown, token } from './markdown';
import { type Analysis } from './modelHost';

/** The strongest features at a token, with what hovers and lists show of them. */
export async function wireFeatures(
  a: Analysis,
  position: number,
  limit: number,
  labelOf: (site: string, feature: number) => string | undefined = () => undefined,
): Promise<WireFeature[]> {
  const found = await featuresAt(a.run, a.engine.dictionaries.values(), position, limit);
  return found.map(({ head, ...f }) => {
    const label = labelOf(f.site, f.feature);
    return {
      ...f,
      ...(label === undefined ? {} : { label }),
      ...(head ? { head: { ...head, sourceText: a.run.tokenText(head.source) ?? '' } } : {}),
    };
  });
}

/** Longer labels are cut in hovers. */
const MAX_LABEL = 120;

export interface HoverInput {
  uri: string;
  /** UTF-16 offset of the prompt in its document. */
  offset: number;
  token: WireToken;
  predictions: Prediction['top'];
  features: WireFeature[];
  /** Whether the part with residual and transcoder features is unfolded. */
  details: boolean;
}

const nextLine = (top: Prediction['top']): string =>
  `Next: ${top.map((p) => `${token(p.text ?? String(p.id))} ${escapeMarkdown(percent(p.probability))}`).join(' · ')}`;

function featureLine(input: HoverInput, f: WireFeature): string {
  const at = input.token.position;
  const root: RootRef = { type: 'feature', site: f.site, feature: f.feature, position: at };
  const attribute: AttributeArguments = { uri: input.uri, offset: input.offset, root };
  const name = commandLink(`${f.layer}\\.${f.feature}`, Commands.openFeature, { site: f.site, feature: f.feature });
  const label = f.label === undefined ? [] : [`*${escapeMarkdown(f.label.slice(0, MAX_LABEL))}*`];
  const parts = [name, ...label, escapeMarkdown(f.activation.toFixed(2))];
  if (f.head) {
    const { head, share, source, sourceText } = f.head;
    parts.push(`head ${f.layer}\\.${head} (${escapeMarkdown(percent(share))}) from ${token(sourceText)} \\@${source}`);
  }
  parts.push(commandLink('attribute', Commands.attribute, attribute));
  parts.push(
    commandLink('label', Commands.labelFeature, { site: f.site, feature: f.feature } satisfies OpenFeatureArguments),
  );
  parts.push(commandLink('Python', Commands.copyPython, attribute));
  return `- ${parts.join(' · ')}`;
}

function siteLines(input: HoverInput, features: WireFeature[], title: (f: WireFeature) => string): string[] {
  const lines: string[] = [];
  let site = '';
  for (const f of features) {
    if (f.site !== site) lines.push('', title(f), '');
    site = f.site;
    lines.push(featureLine(input, f));
  }
  return lines;
}

/** Root of "attribute this token": its logit where the model expected it. Null at position 0, which nothing predicts. */
export const tokenRoot = (t: WireToken): RootRef | null =>
  t.position === 0 ? null : { type: 'logit', tokens: [t.id], position: t.position - 1 };

/** The hover of a token, as markdown. Prompt text is escaped; links are commands of the explicit list only. */
export function hoverMarkdown(input: HoverInput): string {
  const { token: t, uri, offset } = input;
  const lines = [`**${token(t.text)}** · id ${t.id} · position ${t.position}`, '', nextLine(input.predictions), ''];
  const root = tokenRoot(t);
  const links: string[] = [];
  if (root) {
    const args: AttributeArguments = { uri, offset, root, offer: t.position };
    links.push(commandLink(`Attribute ${token(t.text)} \\@${t.position}`, Commands.attribute, args));
  }
  const next = input.predictions[0];
  if (next) {
    const args: AttributeArguments = { uri, offset, root: { type: 'logit', tokens: [next.id], position: t.position } };
    links.push(commandLink(`Attribute next token ${token(next.text ?? String(next.id))}`, Commands.attribute, args));
  }
  links.push(
    commandLink('Features', Commands.showFeatures, {
      uri,
      offset,
      position: t.position,
    } satisfies ShowFeaturesArguments),
  );
  lines.push(links.join(' · '));
  const attention = input.features.filter((f) => f.kind === 'attention');
  const others = input.features.filter((f) => f.kind !== 'attention');
  lines.push(...siteLines(input, attention, (f) => `**Attention layer ${f.layer}**`));
  if (attention.length === 0) lines.push('', 'No attention feature is active here\\.');
  if (others.length > 0) {
    const fold = commandLink(
      input.details ? '▾ Residual and transcoder features' : `▸ ${others.length} residual and transcoder features`,
      Commands.toggleHoverDetails,
      { open: !input.details },
    );
    lines.push('', '---', '', fold);
    const title = (f: WireFeature): string =>
      `**${f.kind === 'residual' ? 'Residual stream' : 'Transcoder'}** · ${escapeMarkdown(f.site)}`;
    if (input.details) lines.push(...siteLines(input, others, title));
  }
  return lines.join('\n');
}
