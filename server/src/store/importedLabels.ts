import { createReadStream, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createGunzip } from 'node:zlib';
import { InputFileError } from '../errors';

/** A label from another tool. */
export interface ImportedLabel {
  site: string;
  feature: number;
  label: string;
  /** Who says so: Neuronpedia, with the kind of explanation; feature-circuits; a workspace. */
  from: string;
  /** The smaller, the better. */
  rank: number;
}

/** What an import read and could not read. */
export interface LabelImport {
  labels: number;
  /** File and line of what could not be read; the first of them. */
  problems: string[];
}

const MAX_BYTES = 2 ** 30;
const MAX_LINE = 4_000_000;
const MAX_LABELS = 2_000_000;
const MAX_FILES = 5000;
const MAX_PROBLEMS = 20;
const MAX_LABEL = 2000;

/** Kinds of explanations, the ones that say most first. */
const TYPES = ['np_max-act-logits', 'np_max-act', 'np_acts-logits-general', 'oai_token-act-pair'];

/** The site of a Neuronpedia source such as `5-att-kk`, or null for sets that are not known (reference interop §3.1). */
export function siteOfSource(source: string): string | null {
  const [, layer, set] = /^(\d+)-([^_]+(?:_[^_]+)*)/.exec(source) ?? [];
  if (layer === undefined) return null;
  if (set === 'att-kk') return `blocks.${layer}.attn.hook_z`;
  if (set === 'tres-dc') return `blocks.${layer}.ln2.hook_normalized`;
  if (set === 'res-jb') return layer === '12' ? 'blocks.11.hook_resid_post' : `blocks.${layer}.hook_resid_pre`;
  return null;
}

const COMPONENTS: Readonly<Record<string, (layer: string) => string>> = {
  attn: (l) => `blocks.${l}.attn.hook_z`,
  resid: (l) => `blocks.${l}.hook_resid_post`,
  mlp: (l) => `blocks.${l}.ln2.hook_normalized`,
};

const text = (x: unknown): string => (typeof x === 'string' ? x.trim().slice(0, MAX_LABEL) : '');
const whole = (x: unknown): number | null => (/^\d{1,9}$/.test(String(x)) ? Number(x) : null);

/**
 * The label of one line: a Neuronpedia explanation, a feature-circuits annotation, or a line of a workspace's file. Null for lines that carry none
 * (headers, embeddings, other sets, empty labels). Throws with what is wrong.
 */
export function parseLabelLine(line: string): ImportedLabel | null {
  const v = JSON.parse(line) as Record<string, unknown> | null;
  if (typeof v !== 'object' || v === null || Array.isArray(v)) throw new Error('not a JSON object');
  if ('modelId' in v && 'index' in v) return neuronpedia(v);
  if ('Component' in v || 'Name' in v || 'Annotation' in v) return featureCircuits(v);
  if (typeof v.site === 'string' && 'feature' in v) {
    const feature = whole(v.feature);
    if (feature === null) throw new Error('"feature" is no whole number');
    const label = text(v.label);
    return label === '' ? null : { site: v.site, feature, label, from: 'label file', rank: 0 };
  }
  throw new Error('neither a Neuronpedia explanation, a feature-circuits annotation nor a label of this extension');
}

function neuronpedia(v: Record<string, unknown>): ImportedLabel | null {
  const [source, feature, label] = [text(v.layer), whole(v.index), text(v.description)];
  if (feature === null) throw new Error('"index" is no whole number');
  const site = siteOfSource(source);
  if (!site || label === '') return null;
  const type = text(v.typeName);
  const at = TYPES.indexOf(type);
  return {
    site,
    feature,
    label,
    from: `Neuronpedia${type === '' ? '' : `, ${type}`}`,
    rank: at < 0 ? TYPES.length : at,
  };
}

function featureCircuits(v: Record<string, unknown>): ImportedLabel | null {
  if (v.Component === 'Component') return null;
  const [, component = text(v.Component), layer = text(v.Layer), named] =
    /^([a-z]+)(?:_(\d+))?\/(\d+)$/.exec(text(v.Name)) ?? [];
  const feature = whole(named ?? v.Feature);
  const label = text(v.Annotation);
  if (component === 'embed' || label === '') return null;
  if (feature === null || !/^\d+$/.test(layer)) throw new Error('names no layer and feature');
  const site = COMPONENTS[component]?.(layer);
  if (!site) throw new Error(`unknown component ${JSON.stringify(component)}`);
  return { site, feature, label, from: 'feature-circuits', rank: 0 };
}

/** Label files at a path: itself, or those in a folder and its folders, in order. Throws InputFileError. */
function labelFiles(path: string): string[] {
  const s = statSync(path, { throwIfNoEntry: false });
  if (!s) throw new InputFileError(path, 'the label file does not exist');
  if (!s.isDirectory()) return [path];
  const found = readdirSync(path, { recursive: true, encoding: 'utf8' })
    .filter((n) => /\.jsonl(\.gz)?$/.test(n))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  if (found.length > MAX_FILES) throw new InputFileError(path, `holds more than ${MAX_FILES} label files`);
  return found.map((n) => join(path, n));
}

const keyOf = (site: string, feature: number): string => `${site} ${feature}`;

/** Labels of other tools, read from files that the user has; kept in memory, never written. */
export class ImportedLabels {
  private readonly best = new Map<string, ImportedLabel>();

  /** Reads files or folders of `.jsonl` and `.jsonl.gz`; what cannot be read is left out and named. Throws InputFileError for a missing path. */
  async load(paths: readonly string[]): Promise<LabelImport> {
    const problems: string[] = [];
    for (const file of paths.flatMap(labelFiles)) await this.loadFile(file, problems);
    return { labels: this.best.size, problems };
  }

  private async loadFile(file: string, problems: string[]): Promise<void> {
    const report = (line: number, why: string): void => {
      if (problems.length < MAX_PROBLEMS) problems.push(`${file}:${line}: ${why}`);
    };
    let bytes = 0;
    let n = 0;
    const raw = createReadStream(file);
    const stream = file.endsWith('.gz') ? raw.pipe(createGunzip()) : raw;
    raw.on('error', (e) => stream.destroy(e));
    try {
      for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) {
        n++;
        bytes += line.length + 1;
        if (bytes > MAX_BYTES) return report(n, 'the file is too large');
        if (this.best.size >= MAX_LABELS) return report(n, `more than ${MAX_LABELS} labels`);
        if (line.trim() === '' || line.length > MAX_LINE) continue;
        try {
          this.take(parseLabelLine(line));
        } catch (e) {
          report(n, e instanceof SyntaxError ? 'not JSON' : (e as Error).message);
        }
      }
    } catch (e) {
      report(n, (e as Error).message);
    }
  }

  private take(l: ImportedLabel | null): void {
    if (!l) return;
    const have = this.best.get(keyOf(l.site, l.feature));
    if (!have || l.rank < have.rank) this.best.set(keyOf(l.site, l.feature), l);
  }

  /** The best label of a feature. */
  of(site: string, feature: number): ImportedLabel | undefined {
    return this.best.get(keyOf(site, feature));
  }

  /** Features whose label holds a text, whatever its case. */
  matching(part: string): ImportedLabel[] {
    const wanted = part.trim().toLowerCase();
    return [...this.best.values()].filter((l) => l.label.toLowerCase().includes(wanted));
  }
}
