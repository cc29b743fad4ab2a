/** Feature dashboards over a folder of texts, as they cross the wire. */
import type { PromptRef } from './tree';

/** One occurrence with its surroundings. */
export interface CorpusExample {
  /** File, relative to the corpus folder; empty when the corpus is that one file. */
  file: string;
  /** The file's address where it is a prompt file, whose prompts can be followed while they are edited. */
  uri: string | null;
  /** Line of the file where the context begins, from 0. */
  line: number;
  /** The whole context, as a prompt. */
  prompt: PromptRef;
  position: number;
  activation: number;
  /** Position of the first token shown. */
  from: number;
  tokens: { text: string; activation: number }[];
}

/** What an index was made of. */
export interface CorpusSummary {
  folder: string;
  contexts: number;
  /** Tokens but BOS. */
  tokens: number;
  /** It ends at the limit of tokens, before the texts do. */
  limited: boolean;
  /** Stretches that could not be analysed, and the first reason. */
  skipped: number;
  reason: string | null;
}

/** What a corpus shows of a feature. */
export interface FeatureDashboard {
  corpus: CorpusSummary;
  /** Whether files have changed since. */
  outdated: boolean;
  /** Tokens at which it is active, BOS left out. */
  active: number;
  density: number;
  /** Mean over the tokens at which it is active. */
  mean: number;
  max: number;
  /** Half octaves of activation, empty ones left out; the last is open above. `example` is drawn evenly from the bin. */
  bins: { from: number; to: number | null; count: number; example: CorpusExample | null }[];
  /** The strongest, at most one a context. */
  top: CorpusExample[];
}

/** Whether there is an index of the folder of the settings, and what it shows. */
export interface DashboardResult {
  /** `unset`: there is no folder; `partial`: a build was stopped and can go on. */
  state: 'unset' | 'none' | 'partial' | 'building' | 'ready';
  folder: string;
  dashboard: FeatureDashboard | null;
}

/** A feature that was searched for. */
export interface FoundFeature {
  site: string;
  feature: number;
  label?: string;
  /** Strongest activation: in the corpus, or in the prompt that was searched by. */
  activation: number | null;
  /** Text around it; the strongest token between ⟦ ⟧. */
  text: string;
}
