import * as ort from 'onnxruntime-node';
import { availableParallelism } from 'node:os';
import { RuntimeFailure } from '../errors';
import { type Feeds, type ProviderName, type Results, type Session } from './types';

/** Threads for large models: every core, up to 16. */
export const allThreads = (): number => Math.max(1, Math.min(16, availableParallelism()));

class OrtSession implements Session {
  constructor(
    private readonly session: ort.InferenceSession,
    private readonly provider: ProviderName,
  ) {}

  async run(feeds: Feeds, fetch: string[]): Promise<Results> {
    const inputs: Record<string, ort.Tensor> = {};
    for (const [name, t] of Object.entries(feeds)) {
      inputs[name] =
        t.data instanceof Float32Array
          ? new ort.Tensor('float32', t.data, t.dims)
          : new ort.Tensor('int32', t.data, t.dims);
    }
    try {
      const out = await this.session.run(inputs, fetch);
      const results: Results = {};
      for (const name of fetch) {
        const t = out[name];
        if (t.type === 'float32') results[name] = { data: t.data as Float32Array, dims: [...t.dims] };
        else if (t.type === 'int32') results[name] = { data: t.data as Int32Array, dims: [...t.dims] };
        else throw new Error(`output ${name} has type ${t.type}`);
      }
      return results;
    } catch (e) {
      throw new RuntimeFailure(`the ${this.provider} provider failed: ${(e as Error).message}`);
    }
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

/**
 * Loads a graph file with one provider. Constants outside the graph are memory-mapped on the CPU and not repacked, so that
 * weights cost no private memory. Worker threads do not spin: a model is many sessions, and the spinning workers of one would take the
 * cores from the next. Throws RuntimeFailure.
 */
export async function createSession(path: string, provider: ProviderName, threads = allThreads()): Promise<Session> {
  try {
    const session = await ort.InferenceSession.create(path, {
      executionProviders: provider === 'cpu' ? ['cpu'] : [provider, 'cpu'],
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      enableMemPattern: false,
      logSeverityLevel: 3,
      extra: { session: { disable_prepacking: provider === 'cpu' ? '1' : '0', intra_op: { allow_spinning: '0' } } },
    });
    return new OrtSession(session, provider);
  } catch (e) {
    throw new RuntimeFailure(`the ${provider} provider cannot load ${path}: ${(e as Error).message}`);
  }
}
