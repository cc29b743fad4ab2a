// Writes notes and labels without end, telling its parent of each that is done. Killed by tests at any moment. Uses the built server's code.
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(import.meta.url);
const { Labels, NotesFile } = require(join(import.meta.dirname, '..', '..', 'dist', 'storage.cjs'));
const [notes, labels, prefix] = process.argv.slice(2);
const target = { type: 'feature', site: 's', feature: 1 };
for (let i = 0; ; i++) {
  const id = `${prefix}${i}`;
  const comments = [{ author: '', at: '', text: 'x'.repeat(200) }];
  await new NotesFile(notes).change(id, () => ({ v: 1, id, target, resolved: false, comments }));
  process.send(id);
  await new Labels(labels).set('m', prefix, i, `${id}l`);
  process.send(`${id}l`);
}
