/** The paper's experiments and their kin, each with its settings; results are tables and descriptions of charts, so that every reader shows all of them. */
export { align, branches } from './branches';
export { answerTokens, caseOfTokens, casesOf } from './cases';
export { ioiFile, type IoiSentence, ioiSentences } from './ioi';
export type { Case, Experiment, ExperimentInfo, ExperimentResult, ExperimentValues } from './types';
export { correlation } from './heads';
export { cleanOf, sectionsOf, sitesOfLayers, spliceAndZero, whatIsLeft } from './measures';
export { separation } from './positional';
export { varianceExplained } from './qk';
export { completeValues, experimentOf, EXPERIMENTS, runExperiment } from './run';
export { scriptOf, scriptSpec, type ScriptSpec } from './script';
