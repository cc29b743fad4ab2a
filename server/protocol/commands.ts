/** Commands that hovers and lenses carry, and their arguments. */
import type { PromptRef, RootRef } from './tree';

/** Commands that hovers and lenses carry. */
export const Commands = {
  attribute: 'attentionCircuits.attribute',
  attributePrompt: 'attentionCircuits.attributePrompt',
  openFeature: 'attentionCircuits.openFeature',
  showFeatures: 'attentionCircuits.showFeatures',
  toggleHoverDetails: 'attentionCircuits.toggleHoverDetails',
  chooseModel: 'attentionCircuits.chooseModel',
  labelFeature: 'attentionCircuits.labelFeature',
  copyPython: 'attentionCircuits.copyPython',
} as const;

/** Where a command's prompt is: by content, or (from hovers, which must stay small) by an offset of its document. */
export type PromptPlace = { uri: string } & ({ prompt: PromptRef } | { offset: number });

/** Argument of the command that attributes a prompt's next token; the document where the prompt stands verbatim, or null. */
export interface AttributePromptArguments {
  uri: string | null;
  prompt: PromptRef;
}

/** Argument of the attribute command. */
export type AttributeArguments = PromptPlace & {
  root: RootRef;
  /** A token whose features the panel offers as further roots. */
  offer?: number;
};

/** Argument of the features command. */
export type ShowFeaturesArguments = PromptPlace & { position: number };

/** Argument of the open-feature command. */
export interface OpenFeatureArguments {
  site: string;
  feature: number;
}
