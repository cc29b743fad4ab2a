/** Experiments over the engine: predictions, what fires where, splices and interventions, edge validation. */
export { ablate, type Ablation } from './ablate';
export {
  residualLens,
  type LensEntry,
  featureDetails,
  type FeatureDetails,
  featuresAt,
  type FiringFeature,
  activationsOf,
} from './features';
export { type FeatureIntervention, outputHook, runSpliced, spliceHooks, type SplicePlan } from './interventions';
export { allHeadShares } from './heads';
export { predict, type Prediction, topPredictions } from './predictions';
export { type Change, validateEdge, type Validation } from './validate';
