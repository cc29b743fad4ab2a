/** `npm run package [-- --target linux-x64]`: makes the package for this platform or a named one. */
import { statSync } from 'node:fs';
import { packageExtension } from './package';

const at = process.argv.indexOf('--target');
packageExtension(at > 0 ? process.argv[at + 1] : undefined).then(
  (path) => console.log(`${path} (${(statSync(path).size / 2 ** 20).toFixed(1)} MiB)`),
  (e: Error) => {
    console.error(e.message);
    process.exitCode = 1;
  },
);
