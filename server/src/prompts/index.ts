/** Prompt files: text to prompts with exact source ranges. Knows nothing of models. */
export { type FilePrompt, parsePrompts, type PromptFile, type PromptProblem } from './promptFile';
export { markdownPrompts, pythonPrompts, type SourcePrompts } from './sourceStrings';
