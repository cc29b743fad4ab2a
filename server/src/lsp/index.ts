/** The only code that knows the language server protocol: documents and requests become calls of the core. */
export { LanguageServer } from './server';
