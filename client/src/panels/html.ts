import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import { type PanelArguments } from '../../../webviews/protocol';
import { contentSecurityPolicy } from './csp';

/** The page of a panel. */
export function panelHtml(webview: vscode.Webview, extension: vscode.Uri, panel: PanelArguments['panel']): string {
  const uri = (file: string): string =>
    webview.asWebviewUri(vscode.Uri.joinPath(extension, 'dist', 'webviews', file)).toString();
  const nonce = randomBytes(16).toString('base64url');
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${contentSecurityPolicy(webview.cspSource, nonce)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Attention Circuits</title>
<link rel="stylesheet" href="${uri('style.css')}">
</head>
<body data-panel="${panel}">
<main id="app"></main>
<script nonce="${nonce}" src="${uri('main.js')}"></script>
</body>
</html>`;
}
