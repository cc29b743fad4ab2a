/** The only code that imports onnxruntime-node: providers and sessions. Knows tensors, not what they mean. */
import { createHash } from 'node:crypto';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { allThreads, createSession } from './session';
import { type ProviderName, type Session } from './types';

export { chooseProvider, onlySoftwareAdapters, type ProviderDecision } from './provider';
export {
  floats,
  ints,
  type FloatTensor,
  type IntTensor,
  type Feeds,
  type ProviderChoice,
  type ProviderName,
  type Results,
  type Session,
} from './types';

/** Owns every loaded graph of one engine. */
export class Runtime {
  private readonly sessions = new Map<string, Promise<Session>>();

  /** `threads` is for each graph; 1 is fastest for small models, whose products end before a second thread wakes. */
  constructor(
    readonly provider: ProviderName,
    private readonly threads = allThreads(),
  ) {}

  /**
   * The session of a graph whose external constants lie in `dir`. The graph file is written there under the hash of its
   * content, once. Throws RuntimeFailure.
   */
  session(dir: string, name: string, graph: () => Uint8Array): Promise<Session> {
    return this.open(dir, name, graph, this.provider);
  }

  /** The same on the CPU whatever the provider: for graphs that only fetch rows of memory-mapped weights. */
  cpuSession(dir: string, name: string, graph: () => Uint8Array): Promise<Session> {
    return this.open(dir, name, graph, 'cpu');
  }

  private open(dir: string, name: string, graph: () => Uint8Array, provider: ProviderName): Promise<Session> {
    const key = join(dir, name);
    const have = this.sessions.get(key);
    if (have) return have;
    const made = this.load(dir, name, graph(), provider);
    this.sessions.set(key, made);
    return made;
  }

  private load(dir: string, name: string, bytes: Uint8Array, provider: ProviderName): Promise<Session> {
    const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12);
    const path = join(dir, `${name}.${hash}.onnx`);
    if (!existsSync(path)) {
      const aside = `${path}.${process.pid}`;
      writeFileSync(aside, bytes);
      renameSync(aside, path);
    }
    return createSession(path, provider, this.threads);
  }

  /** Releases every session. */
  async close(): Promise<void> {
    const all = [...this.sessions.values()];
    this.sessions.clear();
    for (const s of all) await (await s).release();
  }
}
