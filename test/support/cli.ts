import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { TINY, tokens } from './conformance';

export const CLI = join(__dirname, '..', '..', 'dist', 'cli.cjs');

export interface CliResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs the built command line as a stranger does. */
export function cli(args: string[], env: NodeJS.ProcessEnv = {}): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout.on('data', (d: Buffer) => out.push(d));
    child.stderr.on('data', (d: Buffer) => err.push(d));
    child.on('error', reject);
    child.on('close', (code) =>
      resolve({ code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }),
    );
  });
}

/** Options that name the conformance model, its dictionaries and its input. */
export const tiny = ['--model', join(TINY, 'model'), '--sae', join(TINY, 'saes'), '--tokens', tokens.join(',')];

/** Runs a command with --json on the conformance model and parses what it prints. Throws when it fails. */
export async function tinyJson<T>(command: string, ...args: string[]): Promise<T> {
  const r = await cli([command, ...tiny, '--json', ...args]);
  if (r.code !== 0) throw new Error(`exit ${r.code}: ${r.stderr}`);
  return JSON.parse(r.stdout) as T;
}
