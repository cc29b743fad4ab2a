/** Prompt files: text to prompts with exact source ranges. Knows nothing of models. */
export {
  endOfPrompt,
  type FilePrompt,
  offsetInText,
  placeInFile,
  parsePrompts,
  type PromptFile,
  type PromptProblem,
} from './promptFile';
export { markdownPrompts, pythonPrompts, type SourcePrompts } from './sourceStrings';
