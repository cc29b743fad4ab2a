/** GPT-2 as ONNX graphs with named hook points, and the processing contract. */
export {
  combineContracts,
  type Contract,
  type ContractChoice,
  type ContractDecision,
  contractOf,
  DEFAULT_CONTRACT,
  NO_CONTRACT,
} from './contract';
export { Gpt2, type Hook, type HookContext, type Hooks } from './gpt2';
export { type LayerTrace, type Trace, traceBytes } from './trace';
export { type LayerConstants, ModelWeights, openModelWeights } from './weights';
