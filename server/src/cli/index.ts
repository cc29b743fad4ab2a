/** The command line over the core. */
import { Command, CommanderError } from 'commander';
import { EngineError, EXIT_CODES } from '../errors';
import { type Context } from './common';
import { addActivations } from './commands/activations';
import { addAnnotate, addEvaluateFolder } from './commands/annotate';
import { addCircuit } from './commands/circuit';
import { addCorpus } from './commands/corpus';
import { addDfa } from './commands/dfa';
import { addEncode } from './commands/encode';
import { addExperiments } from './commands/experiments';
import { addGraph } from './commands/graph';
import { addHub } from './commands/hub';
import { addMcp } from './commands/mcp';
import { addRun } from './commands/run';
import { addTree } from './commands/tree';
import { addVerify } from './commands/verify';
import { addValidate } from './commands/validate';
import { notice } from './output';

/** Exit code for a failure, after saying it on standard error. */
function report(e: unknown): number {
  if (e instanceof CommanderError) return e.exitCode === 0 ? EXIT_CODES.done : EXIT_CODES.usage;
  if (e instanceof EngineError) {
    notice(`attention-circuits: ${e.message}`);
    return e.code;
  }
  notice(
    `attention-circuits: internal error: ${e instanceof Error ? (process.env.ATTENTION_CIRCUITS_DEBUG ? e.stack : e.message) : String(e)}`,
  );
  return 1;
}

/** Runs one command line (arguments without node and script) and gives its exit code. Never throws. */
export async function main(args: string[], context: Context): Promise<number> {
  const program = new Command('attention-circuits')
    .description('Recursive direct feature attribution for attention-output SAEs: sums that add up.')
    .exitOverride()
    .configureHelp({ helpWidth: 110 });
  for (const add of [
    addActivations,
    addDfa,
    addTree,
    addGraph,
    addRun,
    addEncode,
    addValidate,
    addExperiments,
    addCorpus,
    addVerify,
    addHub,
    addCircuit,
    addMcp,
    addAnnotate,
    addEvaluateFolder,
  ])
    add(program, context);
  for (const c of program.commands) c.exitOverride().allowExcessArguments(false);
  try {
    await program.parseAsync(args, { from: 'user' });
    return EXIT_CODES.done;
  } catch (e) {
    return report(e);
  }
}

export { type Context } from './common';
export { treeText } from './commands/tree';
