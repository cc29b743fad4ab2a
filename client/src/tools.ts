/** The analyses as tools of VS Code's language models: what they may ask is the server's list. */
import * as vscode from 'vscode';
import { type Server } from './server';

/** Tools of the manifest, by the names of the server. */
export const TOOL_PREFIX = 'attentionCircuits_';

interface DeclaredTool {
  name: string;
  displayName: string;
}

/** Registers every tool that the manifest declares. */
export function registerTools(context: vscode.ExtensionContext, server: Server): vscode.Disposable[] {
  const { contributes } = context.extension.packageJSON as { contributes: { languageModelTools: DeclaredTool[] } };
  return contributes.languageModelTools.map(({ name, displayName }) =>
    vscode.lm.registerTool(name, {
      prepareInvocation: () => ({ invocationMessage: `Attention Circuits: ${displayName}` }),
      invoke: async (options, token) => {
        const tool = { name: name.slice(TOOL_PREFIX.length), input: options.input };
        const { text } = await server.request('attentionCircuits/tool', tool, token);
        return new vscode.LanguageModelToolResult([new vscode.LanguageModelTextPart(text)]);
      },
    }),
  );
}
