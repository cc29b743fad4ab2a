import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RuntimeFailure } from '../errors';
import { GraphBuilder } from '../onnx';
import { createSession } from './session';
import { floats, type ProviderChoice, type ProviderName } from './types';

/** The provider in use and, when it is not the first choice, why. */
export interface ProviderDecision {
  provider: ProviderName;
  /** One line for each provider that was passed over. */
  reasons: string[];
}

const TEST_SIZE = 512;
const TOLERANCE = 1e-3;

function testGraph(): Uint8Array {
  const g = new GraphBuilder();
  const n = TEST_SIZE;
  const x = g.input('x', 'float32', ['S', n]);
  const weights = Float32Array.from({ length: n * n }, (_, i) => Math.sin(i * 0.37) / Math.sqrt(n));
  const h = g.op('MatMul', [x, g.floats(weights, [n, n])]);
  const y = g.op('Softmax', [g.op('Mul', [h, g.floats([8], [])])], { axis: -1 });
  g.op('MatMul', [y, g.floats(weights, [n, n])], {}, 'y');
  g.output('y', 'float32', ['S', n]);
  return g.build();
}

interface Probe {
  output: Float32Array;
  milliseconds: number;
}

async function probe(path: string, provider: ProviderName): Promise<Probe> {
  const session = await createSession(path, provider);
  try {
    const dims = [64, TEST_SIZE];
    const data = Float32Array.from({ length: dims[0] * dims[1] }, (_, i) => Math.cos(i * 0.11));
    let output = new Float32Array();
    let best = Infinity;
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      output = floats(await session.run({ x: { data, dims } }, ['y']), 'y') as Float32Array<ArrayBuffer>;
      best = Math.min(best, performance.now() - start);
    }
    return { output, milliseconds: best };
  } finally {
    await session.release();
  }
}

function worstDifference(a: Float32Array, b: Float32Array): number {
  let worst = a.length === b.length ? 0 : Infinity;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i]);
    if (!(d <= worst)) worst = d;
  }
  return worst;
}

/** True when this machine shows no graphics device, so that any WebGPU adapter would be a software one. */
export function onlySoftwareAdapters(): boolean {
  if (
    /swiftshader|lvp_icd|llvmpipe/i.test(`${process.env.VK_ICD_FILENAMES ?? ''} ${process.env.VK_DRIVER_FILES ?? ''}`)
  )
    return true;
  if (process.platform !== 'linux') return false;
  const render = existsSync('/dev/dri') && readdirSync('/dev/dri').some((d) => d.startsWith('renderD'));
  return !render && !['/dev/nvidia0', '/dev/nvidiactl', '/dev/dxg', '/dev/kfd'].some((d) => existsSync(d));
}

async function judge(path: string, provider: ProviderName, cpu: Probe, needFaster: boolean): Promise<string | null> {
  try {
    const p = await probe(path, provider);
    const worst = worstDifference(p.output, cpu.output);
    if (!(worst <= TOLERANCE)) return `${provider}: its self-test differs from the CPU by ${worst}`;
    if (needFaster && p.milliseconds >= cpu.milliseconds) {
      return `${provider}: its self-test takes ${p.milliseconds.toFixed(1)} ms, the CPU ${cpu.milliseconds.toFixed(1)} ms`;
    }
    return null;
  } catch (e) {
    return `${provider}: ${(e as Error).message.split('\n')[0]}`;
  }
}

/**
 * Decides on a provider. `auto` tries CUDA, then WebGPU, each believed only after a self-test against the CPU, only when it is no
 * software adapter, and only when it is faster there; else the CPU. A provider asked for by name must pass the self-test for
 * correctness; RuntimeFailure says why it did not.
 */
export async function chooseProvider(choice: ProviderChoice): Promise<ProviderDecision> {
  if (choice === 'cpu') return { provider: 'cpu', reasons: [] };
  const reasons: string[] = [];
  const software = onlySoftwareAdapters();
  const candidates: ProviderName[] = choice === 'auto' ? ['cuda', 'webgpu'] : [choice];
  if (choice === 'auto' && software)
    return { provider: 'cpu', reasons: ['cuda and webgpu: this machine shows no graphics device'] };
  const dir = mkdtempSync(join(tmpdir(), 'attention-circuits-'));
  try {
    const path = join(dir, 'self-test.onnx');
    writeFileSync(path, testGraph());
    const cpu = await probe(path, 'cpu');
    for (const provider of candidates) {
      const why = await judge(path, provider, cpu, choice === 'auto');
      if (why === null) return { provider, reasons };
      reasons.push(why);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  if (choice !== 'auto') throw new RuntimeFailure(`the provider asked for cannot be used. ${reasons.join('; ')}`);
  return { provider: 'cpu', reasons };
}
