import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { type Command } from 'commander';
import { type ToolContext, TOOLS } from '../../assistant';
import { type Engine, type PromptRun } from '../../engine';
import { EngineError } from '../../errors';
import { Labels } from '../../store';
import { type CommonOptions, type Context, openEngine, withModel } from '../common';
import { version } from '../version';

/** Prompts kept between calls. */
const KEPT = 8;

/** Analysed prompts, the last few of them. */
function keeping(engine: Engine, signal: AbortSignal): ToolContext['run'] {
  const kept = new Map<string, Promise<PromptRun>>();
  return (text, bos) => {
    const key = `${bos} ${text}`;
    const run = kept.get(key) ?? engine.run(engine.prompt(text, bos).tokens, undefined, signal);
    kept.delete(key);
    kept.set(key, run);
    run.catch(() => kept.delete(key));
    for (const old of [...kept.keys()].slice(0, -KEPT)) kept.delete(old);
    return run;
  };
}

/** `mcp`: the analyses as tools of the Model Context Protocol, over standard input and output. */
export function addMcp(program: Command, context: Context): void {
  withModel(program.command('mcp'))
    .description('serve the analyses to an assistant as tools (Model Context Protocol, over standard input and output)')
    .option('--labels <file>', "a workspace's label file", '')
    .action(async (o: CommonOptions & { labels: string }) => {
      const engine = await openEngine(context, o);
      const labels = new Labels(o.labels);
      const { modelName } = engine.model.config;
      const common = {
        engine,
        run: keeping(engine, context.signal),
        labelOf: (site: string, feature: number) => labels.of(modelName, site, feature),
        labelled: (part: string) => labels.matching(modelName, part),
      };
      const server = new McpServer({ name: 'attention-circuits', version });
      for (const t of TOOLS) {
        const config = { title: t.title, description: t.description, inputSchema: t.input.shape };
        server.registerTool(t.name, config, async (input, extra) => {
          const signal = AbortSignal.any([context.signal, extra.signal]);
          try {
            const result = await t.run({ ...common, signal }, t.input.parse(input));
            return { content: [{ type: 'text' as const, text: JSON.stringify(result) }] };
          } catch (e) {
            if (!(e instanceof EngineError)) throw e;
            return { isError: true, content: [{ type: 'text' as const, text: e.message }] };
          }
        });
      }
      const transport = new StdioServerTransport();
      await server.connect(transport);
      await new Promise<void>((done) => {
        transport.onclose = done;
        process.stdin.once('end', done);
        context.signal.addEventListener('abort', () => done(), { once: true });
      });
      await server.close();
      await engine.close();
    });
}
