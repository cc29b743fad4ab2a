/** Published models and dictionaries, as they cross the wire. */

/** A model or a set of dictionaries of the registry, with what is on this machine of it. */
export interface HubEntry {
  type: 'model' | 'dictionaries';
  name: string;
  title: string;
  repo: string;
  /** The model that dictionaries belong to; a model's own name. */
  model: string;
  kind: 'attention' | 'residual' | 'transcoder' | null;
  /** Files that are needed, and those of them that are here. */
  files: number;
  here: number;
  /** About how many bytes all have, and those that are not here. */
  bytes: number;
  missingBytes: number;
}

/** What a download would fetch, or did. */
export interface HubPlan {
  files: number;
  bytes: number;
  free: number;
  endpoint: string;
  cache: string;
}

/** What Neuronpedia says of a feature. */
export interface NeuronpediaPage {
  explanations: { text: string; by: string }[];
  /** Share of tokens at which it is active; largest activation. As Neuronpedia measured them, which may include a folded value bias. */
  density: number | null;
  max: number | null;
}
