/** Saved circuits: the editor of their files, and saving what a panel shows. */
import { type Panel } from '../panels/panel';
import { type Server } from '../server';
import { CIRCUIT_EDITOR, CircuitEditors, saveNew } from './editor';

export { CIRCUIT_EDITOR, CircuitEditors };

const isRecord = (x: unknown): x is Record<string, unknown> => typeof x === 'object' && x !== null;

/** Saves what a circuit panel shows into a new file. */
export async function savePanel(server: Server, panel: Panel, generator: string): Promise<void> {
  const { arguments: args, marks } = panel;
  if (args.panel !== 'circuit') return;
  const identity = await server.request('attentionCircuits/identity', {});
  const circuit = panel.recorder.circuit(args, isRecord(marks) ? marks : {}, identity, generator);
  if (circuit) await saveNew(circuit);
}
