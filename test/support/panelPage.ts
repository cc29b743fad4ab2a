import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, type Page } from 'playwright-core';
import { contentSecurityPolicy } from '../../client/src/panels/csp';
import type { FromPanel, PanelArguments, PanelState, ToPanel } from '../../webviews/protocol';
import { AXE } from './browser';
import { type Session } from './lspClient';

const DIST = join(import.meta.dirname, '..', '..', 'dist', 'webviews');
const ORIGIN = 'http://panel.test';

/** Theme variables of VS Code's four kinds of theme: the ones that contrast depends on. */
const THEMES = {
  light: {
    '--vscode-foreground': '#3b3b3b',
    '--vscode-editor-foreground': '#3b3b3b',
    '--vscode-editor-background': '#ffffff',
    '--vscode-descriptionForeground': '#3b3b3b',
    '--vscode-focusBorder': '#005fb8',
    '--vscode-panel-border': '#e5e5e5',
    '--vscode-button-background': '#005fb8',
    '--vscode-button-foreground': '#ffffff',
    '--vscode-button-secondaryBackground': '#e5e5e5',
    '--vscode-button-secondaryForeground': '#3b3b3b',
    '--vscode-list-activeSelectionBackground': '#e8e8e8',
    '--vscode-list-activeSelectionForeground': '#000000',
    '--vscode-list-inactiveSelectionBackground': '#e4e6f1',
    '--vscode-textLink-foreground': '#005fb8',
    '--vscode-input-background': '#ffffff',
    '--vscode-input-foreground': '#3b3b3b',
    '--vscode-input-placeholderForeground': '#6b6b6b',
    '--vscode-dropdown-background': '#ffffff',
    '--vscode-dropdown-foreground': '#3b3b3b',
    '--vscode-checkbox-background': '#f8f8f8',
    '--vscode-attentionCircuits-positive': '#1b7837',
    '--vscode-attentionCircuits-negative': '#762a83',
    '--vscode-editorWidget-background': '#f8f8f8',
    '--vscode-inputValidation-errorBackground': '#f2dede',
    '--vscode-inputValidation-errorBorder': '#be1100',
    '--vscode-inputValidation-warningBackground': '#f6f5d2',
    '--vscode-inputValidation-warningBorder': '#b89500',
    '--vscode-errorForeground': '#b3200f',
  },
  dark: {
    '--vscode-foreground': '#cccccc',
    '--vscode-editor-foreground': '#cccccc',
    '--vscode-editor-background': '#1f1f1f',
    '--vscode-descriptionForeground': '#9d9d9d',
    '--vscode-focusBorder': '#0078d4',
    '--vscode-panel-border': '#2b2b2b',
    '--vscode-button-background': '#0069ba',
    '--vscode-button-foreground': '#ffffff',
    '--vscode-button-secondaryBackground': '#313131',
    '--vscode-button-secondaryForeground': '#cccccc',
    '--vscode-list-activeSelectionBackground': '#04395e',
    '--vscode-list-activeSelectionForeground': '#ffffff',
    '--vscode-list-inactiveSelectionBackground': '#37373d',
    '--vscode-textLink-foreground': '#4daafc',
    '--vscode-input-background': '#313131',
    '--vscode-input-foreground': '#cccccc',
    '--vscode-input-placeholderForeground': '#a0a0a0',
    '--vscode-dropdown-background': '#313131',
    '--vscode-dropdown-foreground': '#cccccc',
    '--vscode-checkbox-background': '#313131',
    '--vscode-attentionCircuits-positive': '#7fbf7b',
    '--vscode-attentionCircuits-negative': '#c2a5cf',
    '--vscode-editorWidget-background': '#202020',
    '--vscode-inputValidation-errorBackground': '#5a1d1d',
    '--vscode-inputValidation-errorBorder': '#be1100',
    '--vscode-inputValidation-warningBackground': '#352a05',
    '--vscode-inputValidation-warningBorder': '#b89500',
    '--vscode-errorForeground': '#f85149',
  },
  highContrast: {
    '--vscode-foreground': '#ffffff',
    '--vscode-editor-foreground': '#ffffff',
    '--vscode-editor-background': '#000000',
    '--vscode-descriptionForeground': '#ffffff',
    '--vscode-focusBorder': '#f38518',
    '--vscode-contrastBorder': '#6fc3df',
    '--vscode-contrastActiveBorder': '#f38518',
    '--vscode-button-background': '#000000',
    '--vscode-button-foreground': '#ffffff',
    '--vscode-button-border': '#6fc3df',
    '--vscode-button-secondaryBackground': '#000000',
    '--vscode-button-secondaryForeground': '#ffffff',
    '--vscode-textLink-foreground': '#21a6ff',
    '--vscode-input-background': '#000000',
    '--vscode-input-foreground': '#ffffff',
    '--vscode-input-placeholderForeground': '#ffffff',
    '--vscode-dropdown-background': '#000000',
    '--vscode-dropdown-foreground': '#ffffff',
    '--vscode-checkbox-background': '#000000',
    '--vscode-attentionCircuits-positive': '#89d185',
    '--vscode-attentionCircuits-negative': '#e0b0ff',
    '--vscode-editorWidget-background': '#000000',
    '--vscode-inputValidation-errorBackground': '#000000',
    '--vscode-inputValidation-errorBorder': '#be1100',
    '--vscode-inputValidation-warningBackground': '#000000',
    '--vscode-inputValidation-warningBorder': '#b89500',
    '--vscode-errorForeground': '#f48771',
  },
  highContrastLight: {
    '--vscode-foreground': '#292929',
    '--vscode-editor-foreground': '#292929',
    '--vscode-editor-background': '#ffffff',
    '--vscode-descriptionForeground': '#292929',
    '--vscode-focusBorder': '#006bbd',
    '--vscode-contrastBorder': '#0f4a85',
    '--vscode-contrastActiveBorder': '#006bbd',
    '--vscode-button-background': '#0f4a85',
    '--vscode-button-foreground': '#ffffff',
    '--vscode-button-secondaryBackground': '#ffffff',
    '--vscode-button-secondaryForeground': '#292929',
    '--vscode-textLink-foreground': '#0f4a85',
    '--vscode-input-background': '#ffffff',
    '--vscode-input-foreground': '#292929',
    '--vscode-input-placeholderForeground': '#292929',
    '--vscode-dropdown-background': '#ffffff',
    '--vscode-dropdown-foreground': '#292929',
    '--vscode-checkbox-background': '#ffffff',
    '--vscode-attentionCircuits-positive': '#1b7837',
    '--vscode-attentionCircuits-negative': '#762a83',
    '--vscode-editorWidget-background': '#ffffff',
    '--vscode-inputValidation-errorBackground': '#ffffff',
    '--vscode-inputValidation-errorBorder': '#be1100',
    '--vscode-inputValidation-warningBackground': '#ffffff',
    '--vscode-inputValidation-warningBorder': '#b89500',
    '--vscode-errorForeground': '#b5200d',
  },
} as const;

export type Theme = keyof typeof THEMES;
export const themes = Object.keys(THEMES) as Theme[];

const BASE = {
  '--vscode-font-family': 'sans-serif',
  '--vscode-font-size': '13px',
  '--vscode-editor-font-family': 'monospace',
  '--vscode-editor-font-size': '14px',
};

const css = (theme: Theme): string =>
  `:root{${Object.entries({ ...BASE, ...THEMES[theme] })
    .map(([k, v]) => `${k}:${v}`)
    .join(';')}}`;

export interface PanelPage {
  page: Page;
  /** What the panel sent besides requests. */
  sent: Exclude<FromPanel, { type: 'request' | 'cancel' }>[];
  /** Requests by method, in order. */
  requests: string[];
  state(): PanelState | null;
  send(message: ToPanel): Promise<void>;
  setTheme(theme: Theme): Promise<void>;
}

export interface PanelPageOptions {
  ui?: unknown;
  theme?: Theme;
  size?: { width: number; height: number };
  /** Called instead of the server when given. */
  answer?: (method: string, params: unknown) => Promise<unknown>;
}

/** The built panel in a real browser page under its real security policy; requests are answered by a real server. */
export async function openPanel(
  browser: Browser,
  server: Session,
  args: PanelArguments,
  o: PanelPageOptions = {},
): Promise<PanelPage> {
  const page = await browser.newPage({ viewport: o.size ?? { width: 1100, height: 800 }, reducedMotion: 'reduce' });
  const sent: PanelPage['sent'] = [];
  const requests: string[] = [];
  let state: PanelState | null = null;
  const status = await server.request('attentionCircuits/status', {});
  const send = (message: ToPanel): Promise<void> => page.evaluate(`postMessage(${JSON.stringify(message)}, '*')`);
  const answer = o.answer ?? ((method, params): Promise<unknown> => server.request(method as never, params as never));
  await page.exposeFunction('toHost', async (m: FromPanel) => {
    if (m.type === 'ready') {
      await send({ type: 'init', args, ui: o.ui ?? null, defaults: { view: 'component', top: 10 }, status });
    } else if (m.type === 'request') {
      requests.push(m.method);
      await answer(m.method, m.params).then(
        (result) => send({ type: 'response', id: m.id, result }),
        (e: Error) => send({ type: 'failure', id: m.id, error: e.message, cancelled: false }),
      );
    } else if (m.type !== 'cancel') sent.push(m);
  });
  await page.exposeFunction('keepState', (s: PanelState) => {
    state = s;
  });
  await page.addInitScript(() => {
    const scope = globalThis as unknown as Record<string, (x: unknown) => unknown>;
    scope.acquireVsCodeApi = () => ({
      postMessage: (m: unknown) => scope.toHost(m),
      getState: () => null,
      setState: (s: unknown) => scope.keepState(s),
    });
  });
  await page.addInitScript(AXE);
  const nonce = 'test-nonce';
  const html = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Attention Circuits</title>
<meta http-equiv="Content-Security-Policy" content="${contentSecurityPolicy(ORIGIN, nonce)}">
<link rel="stylesheet" href="${ORIGIN}/theme.css"><link rel="stylesheet" href="${ORIGIN}/style.css"></head>
<body data-panel="${args.panel}"><main id="app"></main><script nonce="${nonce}" src="${ORIGIN}/main.js"></script></body></html>`;
  let theme = o.theme ?? 'light';
  await page.route(`${ORIGIN}/**`, (route) => {
    const file = new URL(route.request().url()).pathname;
    if (file === '/') return route.fulfill({ contentType: 'text/html', body: html });
    if (file === '/theme.css') return route.fulfill({ contentType: 'text/css', body: css(theme) });
    return route.fulfill({
      contentType: file.endsWith('.js') ? 'text/javascript' : 'text/css',
      body: readFileSync(join(DIST, file)),
    });
  });
  await page.goto(`${ORIGIN}/`);
  return {
    page,
    sent,
    requests,
    state: () => state,
    send,
    setTheme: async (next) => {
      theme = next;
      await page.evaluate(`document.querySelector('link[href*=theme]').href += '?'`);
    },
  };
}
