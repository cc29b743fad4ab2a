/** What an assistant may ask: the same analyses, as tools with a description, a schema of their input, and a JSON answer. */
export { TOOLS, type Tool, type ToolContext, toolNamed } from './tools';
