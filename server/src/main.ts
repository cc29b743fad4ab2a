/** The language server process: over IPC from the editor, over stdio from anything else (`--stdio`). */
import { createConnection, ProposedFeatures } from 'vscode-languageserver/node';
import { LanguageServer } from './lsp';

const connection = createConnection(ProposedFeatures.all);
new LanguageServer(connection);
connection.listen();
