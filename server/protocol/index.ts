/**
 * The wire contract between the editor's extension and the language server. Types and names only.
 *
 * Requests are self-contained: a prompt travels as its text, a node as the path that is its id. The server keeps what it has computed
 * and answers repeated requests from it; after a crash or an eviction it computes again, so nothing has to be released or restored.
 */
export { Commands } from './commands';
export type {
  AttributeArguments,
  AttributePromptArguments,
  OpenFeatureArguments,
  PromptPlace,
  ShowFeaturesArguments,
} from './commands';
export type { ExperimentPrompts } from './experiments';
export type {
  AttentionResult,
  FeatureExample,
  FeatureResult,
  HeatResult,
  LocatedToken,
  WireFeature,
  WireSite,
} from './features';
export type { NoteChange } from './notes';
export type { ClientNotifications, FolderTable, RequestMethod, Requests, ServerNotifications } from './requests';
export { LANGUAGE, SECTION } from './settings';
export type { InitializationOptions, ServerSettings, WireStatus } from './settings';
export type {
  AblateResult,
  By,
  GraphRoot,
  PackedFloats,
  PromptRef,
  PromptResult,
  RootRef,
  RootResult,
  TreeRoot,
  View,
  WireChange,
  WireExpansion,
  WireGrid,
  WireNode,
  WirePrediction,
  WireToken,
  WireValidation,
} from './tree';
