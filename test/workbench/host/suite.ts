/** What the extension does at the level of VS Code's API. */
import assert from 'node:assert/strict';
import * as vscode from 'vscode';
import type { ExtensionApi } from '../../../client/src/extension';

const ID = 'attention-circuits.attention-circuits';
const TEXT = 'When John and Mary went to the shops, John gave the bag to';

/** Repeats until something is found. */
async function until<T>(
  f: () => T | undefined | false | null | Thenable<T | undefined | false | null>,
  ms = 20_000,
): Promise<T> {
  const end = Date.now() + ms;
  for (;;) {
    const value = await f();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for: ${f.toString()}`);
    await new Promise((r) => setTimeout(r, 50));
  }
}

const hoverText = async (document: vscode.TextDocument, line: number, character: number): Promise<string> => {
  const at = new vscode.Position(line, character);
  const hovers = await vscode.commands.executeCommand<vscode.Hover[]>('vscode.executeHoverProvider', document.uri, at);
  return hovers.flatMap((h) => h.contents.map((c) => (typeof c === 'string' ? c : c.value))).join('\n');
};

const lenses = (document: vscode.TextDocument, resolve = 100): Thenable<vscode.CodeLens[]> =>
  vscode.commands.executeCommand('vscode.executeCodeLensProvider', document.uri, resolve);

const openTabs = (): string[] => vscode.window.tabGroups.all.flatMap((g) => g.tabs.map((t) => t.label));

export function suite(): void {
  describe('in the extension host', () => {
    const extension = vscode.extensions.getExtension<ExtensionApi>(ID);
    let api: ExtensionApi;
    const serverPid = async (): Promise<number> => {
      const { pid } = await api.server.request('attentionCircuits/status', {});
      if (pid === null) throw new Error('no server runs');
      return pid;
    };
    let document: vscode.TextDocument;

    before(async () => {
      assert.ok(extension, `${ID} is not installed`);
      const [folder] = vscode.workspace.workspaceFolders ?? [];
      assert.equal(extension.isActive, false, 'active although no prompt file is open');
      document = await vscode.workspace.openTextDocument(vscode.Uri.joinPath(folder.uri, 'ioi.prompts'));
      await vscode.window.showTextDocument(document);
      api = await extension.activate();
    });

    it('opens prompt files as their own language', () => assert.equal(document.languageId, 'prompts'));

    it('registers every declared command', async () => {
      const known = new Set(await vscode.commands.getCommands(true));
      const { commands } = (extension?.packageJSON as { contributes: { commands: { command: string }[] } }).contributes;
      assert.deepEqual(
        commands.map((c) => c.command).filter((c) => !known.has(c)),
        [],
      );
    });

    it('hover: token, predictions, features with head and source; only our commands are trusted', async () => {
      const text = await until(async () => {
        const t = await hoverText(document, 3, TEXT.length - 1);
        return t.includes('Attention layer 2') && t;
      });
      assert.match(text, /‘ to’.*position 14/);
      const hovers = await vscode.commands.executeCommand<vscode.Hover[]>(
        'vscode.executeHoverProvider',
        document.uri,
        new vscode.Position(3, 3),
      );
      const [content] = hovers[0].contents;
      assert.ok(content instanceof vscode.MarkdownString && typeof content.isTrusted === 'object');
      assert.ok(content.isTrusted.enabledCommands.every((c) => c.startsWith('attentionCircuits.')));
      assert.ok(!content.supportHtml);
    });

    it('lenses: answers, next token, features on each prompt', async () => {
      const titles = await until(async () => {
        const list = (await lenses(document)).map((l) => l.command?.title ?? '');
        return list.length >= 9 && list.every((t) => t !== '') && list;
      });
      assert.equal(titles.filter((t) => t === 'Attribute ‘ Mary’ − ‘ John’').length, 3);
      assert.equal(titles.filter((t) => /^Attribute ‘ Mary’ \(next token, \d+%\)$/.test(t)).length, 3);
    });

    it('the lens of the token under the cursor follows the cursor', async () => {
      const editor = await vscode.window.showTextDocument(document);
      const at = document.positionAt(document.getText().indexOf('John gave') + 1);
      editor.selection = new vscode.Selection(at, at);
      const titles = async (): Promise<string[]> => (await lenses(document)).map((l) => l.command?.title ?? '');
      await until(async () => (await titles()).includes('Attribute this token ‘ John’ @10'));
    });

    it('a lens can be switched off', async () => {
      const configuration = vscode.workspace.getConfiguration('attentionCircuits');
      await configuration.update('codeLens.features', false, vscode.ConfigurationTarget.Global);
      await until(async () => !(await lenses(document)).some((l) => l.command?.title === 'Features'));
      await configuration.update('codeLens.features', undefined, vscode.ConfigurationTarget.Global);
    });

    it('attribute opens the circuit panel; a second lens shows in the same panel', async () => {
      const list = await lenses(document);
      const lens = list.find((l) => l.command?.title.includes('−'));
      assert.ok(lens?.command?.arguments);
      for (let i = 0; i < 2; i++)
        await vscode.commands.executeCommand(lens.command.command, ...(lens.command.arguments as unknown[]));
      await until(() => openTabs().includes('Circuit'));
      assert.equal(openTabs().filter((t) => t === 'Circuit').length, 1);
      await vscode.commands.executeCommand('attentionCircuits.openFeature', {
        site: 'blocks.2.attn.hook_z',
        feature: 74,
      });
      await until(() => openTabs().includes('Feature blocks.2.attn.hook_z/74'));
    });

    it('features at cursor: follow, pin, pause', async () => {
      await vscode.commands.executeCommand('attentionCircuits.showFeatures', {
        uri: document.uri.toString(),
        prompt: { text: TEXT, bos: true },
        position: 14,
      });
      assert.equal(api.features.current?.position, 14);
      assert.ok(api.features.current.features.some((f) => f.site === 'blocks.2.attn.hook_z' && f.feature === 74));
      const sites = api.features.getChildren();
      assert.equal(api.features.getTreeItem(sites[0]).label, 'blocks.0.attn.hook_z');
      const move = async (word: string): Promise<void> => {
        const editor = await vscode.window.showTextDocument(document);
        const at = document.positionAt(document.getText().indexOf(word) + 1);
        editor.selection = new vscode.Selection(at, at);
      };
      await move('Mary went');
      await until(() => api.features.current?.text === ' Mary');
      await vscode.commands.executeCommand('attentionCircuits.pinFeatures');
      await move('shops');
      await until(async () => (await lenses(document)).some((l) => l.command?.title.includes('‘ shops’ @8')));
      assert.equal(api.features.current?.text, ' Mary');
      await vscode.commands.executeCommand('attentionCircuits.unpinFeatures');
      await move('gave');
      await until(() => api.features.current?.text === ' gave');
    });

    it('the heat map is drawn and taken away', async () => {
      await vscode.commands.executeCommand('attentionCircuits.heatMap', { site: 'blocks.2.attn.hook_z', feature: 74 });
      assert.deepEqual(api.heat.current, { site: 'blocks.2.attn.hook_z', feature: 74 });
      await vscode.commands.executeCommand('attentionCircuits.clearHeatMap');
      assert.equal(api.heat.current, null);
    });

    it('diagnostics, symbols, completion and code actions reach the editor', async () => {
      const bad = await vscode.workspace.openTextDocument({ language: 'prompts', content: '@wat\nJohn gave \n' });
      await vscode.window.showTextDocument(bad);
      const found = await until(() => {
        const list = vscode.languages.getDiagnostics(bad.uri);
        return list.length >= 2 && list;
      });
      assert.deepEqual(found.map((d) => d.code).sort(), ['syntax', 'trailing-space']);
      const range = new vscode.Range(1, 9, 1, 10);
      const actions = await vscode.commands.executeCommand<vscode.CodeAction[]>(
        'vscode.executeCodeActionProvider',
        bad.uri,
        range,
      );
      const fix = actions.find((a) => a.title.includes('white space'));
      assert.ok(fix?.edit);
      await vscode.workspace.applyEdit(fix.edit);
      assert.equal(bad.lineAt(1).text, 'John gave');
      const items = await vscode.commands.executeCommand<vscode.CompletionList>(
        'vscode.executeCompletionItemProvider',
        bad.uri,
        new vscode.Position(0, 1),
      );
      assert.ok(items.items.some((i) => i.label === '@bos'));
      const symbols = await vscode.commands.executeCommand<vscode.DocumentSymbol[]>(
        'vscode.executeDocumentSymbolProvider',
        document.uri,
      );
      assert.deepEqual(
        symbols.map((s) => s.name),
        ['clean', 'alongside', 'swapped'],
      );
    });

    it('inlay hints come when they are switched on', async () => {
      const configuration = vscode.workspace.getConfiguration('attentionCircuits');
      const all = new vscode.Range(0, 0, document.lineCount, 0);
      const hints = (): Thenable<vscode.InlayHint[]> =>
        vscode.commands.executeCommand('vscode.executeInlayHintProvider', document.uri, all);
      assert.equal((await hints()).length, 0);
      await configuration.update('inlayHints.enabled', true, vscode.ConfigurationTarget.Global);
      const list = await until(async () => {
        const found = await hints();
        return found.length === 3 && found;
      });
      const { label } = list[0];
      assert.match(typeof label === 'string' ? label : label.map((l) => l.value).join(''), /^→ ‘ Mary’ \d+%$/);
      await configuration.update('inlayHints.enabled', undefined, vscode.ConfigurationTarget.Global);
    });

    it('a hovered feature is copied as a Python script', async () => {
      const text = await hoverText(document, 3, 56);
      const [, args] = /command:attentionCircuits\.copyPython\?([^)\s]+)\)/.exec(text) ?? [];
      assert.ok(args, text);
      const [given] = JSON.parse(decodeURIComponent(args)) as unknown[];
      await vscode.commands.executeCommand('attentionCircuits.copyPython', given);
      const script = await vscode.env.clipboard.readText();
      assert.match(script, /HookedTransformer/);
      assert.match(script, /"expected":\{"tree":\{"blocks\./);
    });

    it('the installation is verified against numbers of a second implementation', async () => {
      await vscode.commands.executeCommand('attentionCircuits.verify');
      const report = vscode.window.activeTextEditor?.document.getText() ?? '';
      assert.match(report, /\d+ agree, 0 differ, 0 need files/);
      await vscode.commands.executeCommand('workbench.action.revertAndCloseActiveEditor');
      await vscode.window.showTextDocument(document);
    });

    it('language models may call the analyses as tools, and are told what is wrong with what they ask', async () => {
      const name = 'attentionCircuits_attribute_token';
      assert.ok(vscode.lm.tools.some((t) => t.name === name));
      const call = async (input: object): Promise<string> => {
        const { content } = await vscode.lm.invokeTool(name, { input, toolInvocationToken: undefined });
        return content.map((c) => (c instanceof vscode.LanguageModelTextPart ? c.value : '')).join('');
      };
      const root = { type: 'logit', token: ' Mary', minus: ' John' };
      const answer = JSON.parse(await call({ prompt: TEXT, root })) as Record<string, unknown>;
      assert.ok(JSON.stringify(answer).includes('blocks.2.attn.hook_z'));
      await assert.rejects(call({ prompt: TEXT, root: { ...root, token: ' Zbigniew' } }), /is \d+ tokens/);
    });

    it('typing is not held up and the new text is what hovers answer', async () => {
      const typed = await vscode.workspace.openTextDocument({ language: 'prompts', content: 'John gave' });
      const editor = await vscode.window.showTextDocument(typed);
      for (const word of [' the', ' bag', ' to']) {
        await editor.edit((e) => e.insert(typed.lineAt(0).range.end, word));
      }
      await until(async () => (await hoverText(typed, 0, typed.getText().length - 1)).includes('‘ to’'));
    });

    it('a killed server is started again, and answers', async () => {
      const pid = await serverPid();
      process.kill(pid, 'SIGKILL');
      await until(async () => (await serverPid().catch(() => pid)) !== pid);
      await until(async () => (await hoverText(document, 3, 6).catch(() => '')).includes('‘ John’'));
    });

    it('a server that keeps dying is not started for ever, and comes back by command', async () => {
      const ended = (): boolean => api.server.status.message === 'the server is not running';
      for (let i = 0; i < 10 && !ended(); i++) {
        const pid = await serverPid().catch(() => null);
        if (pid !== null) process.kill(pid, 'SIGKILL');
        await until(async () => ended() || (await serverPid().catch(() => pid)) !== pid);
      }
      assert.equal(api.server.running, false);
      await vscode.commands.executeCommand('attentionCircuits.restartServer');
      await until(async () => (await hoverText(document, 3, 6)).includes('‘ John’'));
    });

    it('a missing model is said with its folder, and another setting heals it', async () => {
      const configuration = vscode.workspace.getConfiguration('attentionCircuits');
      await configuration.update('model', '/nowhere/gpt2', vscode.ConfigurationTarget.Global);
      await until(async () => (await hoverText(document, 3, 6)).includes('nowhere'));
      assert.equal(api.server.status.phase, 'failed');
      await configuration.update('model', undefined, vscode.ConfigurationTarget.Global);
      await until(async () => (await hoverText(document, 3, 6)).includes('‘ John’'));
    });

    it('the example command opens a prompt file of its own', async () => {
      await vscode.commands.executeCommand('attentionCircuits.openExample');
      await until(
        () =>
          vscode.window.activeTextEditor?.document.isUntitled &&
          vscode.window.activeTextEditor.document.languageId === 'prompts',
      );
    });
  });
}
