/** Published models and dictionaries by name: what there is, what is here, and fetching the rest from the Hugging Face Hub. */
export { type DictionarySource, type LocalState, resolveDictionaryNames, resolveModelName } from './resolve';
export { HUB_PREFIX, readRegistry, type Registry } from './registry';
export { type HubSettings, Hub, type HubPlan, type HubEntry } from './hub';
