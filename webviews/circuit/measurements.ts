/** What is asked of the server about the selected node: its sources and heads, and runs of the model without it. */
import type {
  AblateResult,
  PromptRef,
  RootRef,
  TreeRoot,
  WireGrid,
  WireNode,
  WireValidation,
} from '../../server/protocol';
import { announce, type Host, RequestError } from '../shared/host';
import { signed } from '../ui';
import { rootOf } from './model';

export const wasCancelled = (e: unknown): boolean => e instanceof RequestError && e.cancelled;

/** The tree that a node belongs to. */
interface Place {
  prompt: PromptRef;
  root: TreeRoot;
}

export class Measurements {
  /** Source attribution and heat map of the node. */
  sources: number[] | null = null;
  grid: WireGrid | null = null;
  validation: WireValidation | 'running' | null = null;
  ablation: AblateResult | 'running' | null = null;
  private abort = new AbortController();

  constructor(
    private readonly host: Host,
    private readonly changed: () => void,
    /** A question about a node failed. */
    private readonly failed: (id: string, message: string) => void,
  ) {}

  /** What was measured for one node of one prompt is not shown beside another. */
  forget(): void {
    this.abort.abort();
    this.abort = new AbortController();
    this.validation = null;
    this.ablation = null;
    this.grid = null;
    this.sources = null;
  }

  async fetch({ prompt, root }: Place, node: WireNode): Promise<void> {
    this.abort.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    const params = { prompt, root, node: node.id };
    try {
      const { sources } = await this.host.request('attentionCircuits/sources', params, signal);
      const grid = node.opens ? await this.host.request('attentionCircuits/grid', params, signal) : null;
      if (signal.aborted) return;
      this.sources = sources;
      this.grid = grid;
    } catch (e) {
      if (wasCancelled(e)) return;
      this.failed(node.id, (e as Error).message);
    }
    this.changed();
  }

  /** Runs the model without a node of a tree of the model. */
  async validate(prompt: PromptRef, root: RootRef, node: WireNode): Promise<void> {
    this.validation = 'running';
    this.changed();
    this.validation = await this.run(node, (signal) =>
      this.host.request('attentionCircuits/validate', { prompt, root, edge: node.id }, signal),
    );
    if (this.validation) {
      const { predicted, direct, free } = this.validation;
      announce(`predicted ${signed(-predicted)}, direct ${signed(direct.change)}, free ${signed(free.change)}`);
    }
    this.changed();
  }

  /** Runs the model without the features among some nodes; a failure is told at the selected node. */
  async ablate(prompt: PromptRef, root: RootRef, nodes: readonly WireNode[], selected: WireNode | null): Promise<void> {
    const features = nodes.flatMap((node) => {
      const r = rootOf(node);
      return r?.type === 'feature' ? [{ site: r.site, feature: r.feature, position: r.position }] : [];
    });
    if (features.length === 0) return announce('only features can be ablated');
    this.ablation = 'running';
    this.changed();
    this.ablation = await this.run(selected, (signal) =>
      this.host.request('attentionCircuits/ablate', { prompt, root, features }, signal),
    );
    if (this.ablation) announce(`the root changes by ${signed(this.ablation.root.change)}`);
    this.changed();
  }

  private async run<T>(node: WireNode | null, job: (signal: AbortSignal) => Promise<T>): Promise<T | null> {
    try {
      return await job(this.abort.signal);
    } catch (e) {
      if (!wasCancelled(e) && node) this.failed(node.id, (e as Error).message);
      return null;
    }
  }
}
