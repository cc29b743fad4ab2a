import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import { type PanelArguments } from '../../../webviews/protocol';

/** The toolkit leaves one empty inline style behind; this is its hash. */
const EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";

/** The content security policy of a panel: our script by nonce, our styles, images drawn by ourselves, nothing remote. */
export const contentSecurityPolicy = (cspSource: string, nonce: string): string =>
  `default-src 'none'; script-src 'nonce-${nonce}'; style-src ${cspSource} ${EMPTY_STYLE}; img-src data: blob:; font-src ${cspSource}`;

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
