import { readFileSync, statSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { InputFileError } from '../errors';
import { cantorPair } from './cantor';
import { type GraphFile, type GraphFileLink, type GraphFileNode } from './graphJson';

/** Largest graph file read, in bytes, after unpacking. */
export const GRAPH_LIMIT = 100_000_000;

/** Layers and features beyond these have no exact pair number. */
const MAX_LAYER = 10_000;
const MAX_INDEX = 1e7;

/** How graph files differ (reference interop §1.1). */
export type Dialect = 'A' | 'B' | 'C' | 'D';

type Raw = Record<string, unknown>;

const isObject = (x: unknown): x is Raw => typeof x === 'object' && x !== null && !Array.isArray(x);
/** Values of a file as text and as numbers; objects are neither, whatever they say of themselves. */
const textOf = (x: unknown): string => (typeof x === 'object' && x !== null ? '' : String(x));
const numberOf = (x: unknown): number => (typeof x === 'number' || typeof x === 'string' ? Number(x) : NaN);
const isErrorType = (n: Raw): boolean => /error/.test(textOf(n.feature_type));

/** Reads a plain or gzip-compressed JSON object. Throws InputFileError. */
function readGraph(path: string): Raw {
  let bytes: Buffer;
  try {
    if (statSync(path).size > GRAPH_LIMIT)
      throw new InputFileError(path, `larger than the limit of ${GRAPH_LIMIT} bytes`);
    bytes = readFileSync(path);
  } catch (e) {
    if (e instanceof InputFileError) throw e;
    throw new InputFileError(
      path,
      (e as NodeJS.ErrnoException).code === 'ENOENT' ? 'the file does not exist' : (e as Error).message,
    );
  }
  try {
    if (bytes[0] === 0x1f && bytes[1] === 0x8b) bytes = gunzipSync(bytes, { maxOutputLength: GRAPH_LIMIT });
  } catch (e) {
    throw new InputFileError(path, `cannot be unpacked (${(e as Error).message})`);
  }
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (e) {
    throw new InputFileError(path, `not valid JSON (${(e as Error).message})`);
  }
  if (!isObject(value))
    throw new InputFileError(path, 'expected a JSON object with metadata, qParams, nodes and links');
  return value;
}

function dialectOf(metadata: Raw, nodes: Raw[], nodeIds: string[]): Dialect {
  const lorsa = nodes.some(
    (n) =>
      /lorsa|^bias$/.test(textOf(n.feature_type)) ||
      n.qk_tracing_results != null ||
      /_(lor|cro|error|bias)_/.test(textOf(n.node_id)),
  );
  if (lorsa) return 'D';
  if (metadata.schema_version !== 1) return 'A';
  return nodeIds.some((id, i) => isErrorType(nodes[i]) && /^-?\d+_-1_\d+$/.test(id)) || !nodes.some(isErrorType)
    ? 'C'
    : 'B';
}

function list(path: string, value: unknown, name: string): Raw[] {
  if (!Array.isArray(value)) throw new InputFileError(path, `"${name}" is missing or not a list`);
  value.forEach((v, i) => {
    if (!isObject(v)) throw new InputFileError(path, `${name}[${i}] is not an object`);
  });
  return value as Raw[];
}

function parseList(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  const t = value.trim();
  if (t === '') return [];
  if (!t.startsWith('[')) return t.split(',').map((s) => s.trim());
  try {
    return JSON.parse(t) as unknown;
  } catch {
    return [];
  }
}

/** qParams with the types that the published schema asks for; every other key as it is. */
function normaliseParams(raw: unknown): Raw {
  const q: Raw = isObject(raw) ? { ...raw } : {};
  if ('pinnedIds' in q) q.pinnedIds = parseList(q.pinnedIds) ?? [];
  if ('supernodes' in q) q.supernodes = parseList(q.supernodes) ?? [];
  if (q.clickedId === null) delete q.clickedId;
  for (const key of ['linkType', 'sg_pos']) if (q[key] === null) delete q[key];
  return q;
}

/** Legacy feature numbers: layer followed by a five-digit index, or the plain index. Says which a file uses. */
function legacyIsConcatenated(nodes: Raw[]): boolean {
  const features = nodes.filter(
    (n) => /transcoder|unexplored/.test(textOf(n.feature_type)) && typeof n.feature === 'number',
  );
  return features.every((n) => {
    const layer = numberOf(n.layer);
    return Math.floor((n.feature as number) / 1e5) === layer;
  });
}

/** The pair number of a layer and an index; null for what is none. */
const paired = (layer: number, index: number): number | null =>
  Number.isInteger(index) && layer <= MAX_LAYER && index >= 0 && index <= MAX_INDEX ? cantorPair(layer, index) : null;

class Importer {
  readonly warnings: string[] = [];
  private readonly rekeyed = new Map<string, string>();
  private ambiguous = 0;
  private dropped = 0;

  constructor(
    private readonly path: string,
    private readonly raw: Raw,
  ) {}

  private node(n: Raw, i: number, dialect: Dialect, concatenated: boolean): GraphFileNode {
    const bad = (what: string): never => {
      throw new InputFileError(this.path, `nodes[${i}]: ${what}`);
    };
    if (typeof n.node_id !== 'string') bad('"node_id" is not a string');
    const ctx_idx = numberOf(n.ctx_idx);
    if (!Number.isInteger(ctx_idx)) bad('"ctx_idx" is not a whole number');
    if (typeof n.feature_type !== 'string') bad('"feature_type" is not a string');
    const featureType = n.feature_type === 'unexplored node' ? 'cross layer transcoder' : (n.feature_type as string);
    const layer = typeof n.layer === 'string' || typeof n.layer === 'number' ? textOf(n.layer) : '';
    let feature = typeof n.feature === 'number' && Number.isFinite(n.feature) ? n.feature : null;
    if (dialect === 'A' && feature !== null && /transcoder/.test(featureType)) {
      const index = concatenated ? feature % 1e5 : feature;
      if (/^\d+$/.test(layer))
        feature =
          paired(Number(layer), index) ?? bad(`layer ${layer} and feature ${index} are no numbers of a feature`);
    }
    if (dialect === 'A' && isErrorType(n)) feature = -1;
    const node_id = n.node_id as string;
    return {
      ...n,
      node_id,
      feature,
      layer,
      ctx_idx,
      feature_type: featureType,
      jsNodeId: typeof n.jsNodeId === 'string' ? n.jsNodeId : node_id,
      clerp: typeof n.clerp === 'string' ? n.clerp : '',
    };
  }

  /** Gives errors of the older dialects their unambiguous ids. */
  private rekey(nodes: GraphFileNode[]): void {
    const taken = new Map<string, number>();
    for (const n of nodes) taken.set(n.node_id, (taken.get(n.node_id) ?? 0) + 1);
    for (const n of nodes) {
      if (!isErrorType(n) || !/^0_\d+_\d+$/.test(n.node_id)) continue;
      const id = `${n.layer}_-1_${n.ctx_idx}`;
      if ((taken.get(n.node_id) ?? 0) > 1) this.ambiguous++;
      else this.rekeyed.set(n.node_id, id);
      n.node_id = id;
    }
  }

  /** Gives every node its own id: of nodes that share one, the first keeps it and the links. */
  private distinguish(nodes: GraphFileNode[]): void {
    const seen = new Set<string>();
    let renamed = 0;
    for (const n of nodes) {
      const id = n.node_id;
      for (let i = 2; seen.has(n.node_id); i++) n.node_id = `${id}#${i}`;
      if (n.node_id !== id) renamed++;
      seen.add(n.node_id);
    }
    if (renamed)
      this.warnings.push(`${renamed} nodes had the id of an earlier one and were renamed; links stay with the first`);
  }

  private links(raw: Raw[], ids: ReadonlySet<string>): GraphFileLink[] {
    const now = (id: unknown): string => this.rekeyed.get(textOf(id)) ?? textOf(id);
    return raw.flatMap((l, i) => {
      if (typeof l.weight !== 'number' || !Number.isFinite(l.weight))
        throw new InputFileError(this.path, `links[${i}]: "weight" is not a number`);
      const link = { ...l, source: now(l.source), target: now(l.target), weight: l.weight };
      if (ids.has(link.source) && ids.has(link.target)) return [link];
      this.dropped++;
      return [];
    });
  }

  import(): GraphFile {
    const metadata = isObject(this.raw.metadata) ? this.raw.metadata : {};
    if (!isObject(this.raw.metadata)) throw new InputFileError(this.path, '"metadata" is missing or not an object');
    const rawNodes = list(this.path, this.raw.nodes, 'nodes');
    const dialect = dialectOf(
      metadata,
      rawNodes,
      rawNodes.map((n) => textOf(n.node_id)),
    );
    const concatenated = dialect === 'A' && legacyIsConcatenated(rawNodes);
    const nodes = rawNodes.map((n, i) => this.node(n, i, dialect, concatenated));
    if (dialect === 'A' || dialect === 'B') this.rekey(nodes);
    this.distinguish(nodes);
    const ids = new Set(nodes.map((n) => n.node_id));
    this.relayerLogits(nodes);
    const links = this.links(list(this.path, this.raw.links, 'links'), ids);
    const tokens = Array.isArray(metadata.prompt_tokens) ? metadata.prompt_tokens.map(textOf) : [];
    if (this.ambiguous)
      this.warnings.push(
        `${this.ambiguous} error nodes shared an id with a feature: their links stay with the feature`,
      );
    if (this.dropped) this.warnings.push(`${this.dropped} links named nodes that are not in the file`);
    const imported = { dialect, warnings: this.warnings, droppedLinks: this.dropped, ambiguousNodes: this.ambiguous };
    return {
      ...this.raw,
      metadata: {
        ...metadata,
        slug: typeof metadata.slug === 'string' ? metadata.slug : 'graph',
        scan: typeof metadata.scan === 'string' ? metadata.scan : '',
        prompt_tokens: tokens,
        prompt: typeof metadata.prompt === 'string' ? metadata.prompt : tokens.join(''),
        schema_version: 1,
        dfa: {
          ...(isObject(metadata.dfa) ? metadata.dfa : {}),
          ...(dialect === 'C' && isObject(metadata.dfa) ? {} : { import: imported }),
        },
      },
      qParams: this.pinned(normaliseParams(this.raw.qParams)),
      nodes,
      links,
    };
  }

  /** Pinned ids, groups and the selection follow re-keyed nodes. */
  private pinned(q: Raw): Raw {
    const now = (id: unknown): unknown => (typeof id === 'string' ? (this.rekeyed.get(id) ?? id) : id);
    if (Array.isArray(q.pinnedIds)) q.pinnedIds = q.pinnedIds.map(now);
    if (Array.isArray(q.supernodes))
      q.supernodes = q.supernodes.map((g: unknown) => (Array.isArray(g) ? [g[0], ...g.slice(1).map(now)] : g));
    if ('clickedId' in q) q.clickedId = now(q.clickedId);
    return q;
  }

  private relayerLogits(nodes: GraphFileNode[]): void {
    const layers = nodes
      .filter((n) => n.feature_type !== 'logit' && /^\d+$/.test(n.layer))
      .map((n) => numberOf(n.layer));
    const top = Math.max(0, ...layers) + 1;
    for (const n of nodes) if (n.feature_type === 'logit' && !/^\d+$/.test(n.layer)) n.layer = String(top);
  }
}

/**
 * Reads an attribution graph in any of the four dialects and gives it as schema 1; unknown fields are kept. What had to be decided is
 * under `metadata.dfa.import`. Throws InputFileError. Rules: reference interop §1.8.
 */
export function importGraphFile(path: string): GraphFile {
  return new Importer(path, readGraph(path)).import();
}
