/** Model, dictionaries, tokenizer and runtime put together. */
export { Engine, type EngineOptions, type GivenDictionary, type Prompt } from './engine';
export { PromptRun, siteInput, siteTarget } from './promptRun';
