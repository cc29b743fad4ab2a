#!/usr/bin/env node
import { join } from 'node:path';
import { EXIT_CODES } from '../errors';
import { main } from './index';

const controller = new AbortController();
process.on('SIGINT', () => {
  if (controller.signal.aborted) process.exit(EXIT_CODES.interrupted);
  controller.abort();
});
process.stdout.on('error', (e: NodeJS.ErrnoException) =>
  process.exit(e.code === 'EPIPE' ? EXIT_CODES.done : EXIT_CODES.runtime),
);

void main(process.argv.slice(2), { home: join(__dirname, '..'), signal: controller.signal }).then((code) => {
  process.exitCode = code;
});
