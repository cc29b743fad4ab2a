/** Experiments over the engine: splices and interventions, edge validation, quality. */
export { type FeatureIntervention, outputHook, runSpliced, spliceHooks, type SplicePlan } from './interventions';
export { type Change, validateEdge, type Validation } from './validate';
