import type { RequestMethod, Requests } from '../../server/protocol';
import type { FromPanel, PanelArguments, PanelState, ToPanel } from '../protocol';

interface VsCodeApi {
  postMessage(message: FromPanel): void;
  getState(): unknown;
  setState(state: PanelState): void;
}

declare function acquireVsCodeApi(): VsCodeApi;

/** A request that did not succeed; `cancelled` when the panel itself gave it up. */
export class RequestError extends Error {
  constructor(
    message: string,
    readonly cancelled: boolean,
  ) {
    super(message);
  }
}

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (e: RequestError) => void;
}

/** The panel's side of the talk with the extension: requests with cancellation, messages, remembered state. */
export class Host {
  private readonly api = acquireVsCodeApi();
  private readonly waiting = new Map<number, Waiting>();
  private next = 1;

  constructor(private readonly onMessage: (m: Exclude<ToPanel, { type: 'response' | 'failure' }>) => void) {
    window.addEventListener('message', (e: MessageEvent<ToPanel>) => this.receive(e.data));
  }

  private receive(m: ToPanel): void {
    if (m.type === 'response') {
      this.waiting.get(m.id)?.resolve(m.result);
      this.waiting.delete(m.id);
    } else if (m.type === 'failure') {
      this.waiting.get(m.id)?.reject(new RequestError(m.error, m.cancelled));
      this.waiting.delete(m.id);
    } else this.onMessage(m);
  }

  send(message: FromPanel): void {
    this.api.postMessage(message);
  }

  /** Asks the server. Rejects with RequestError. When the signal fires the server is told to stop and the promise rejects at once. */
  request<M extends RequestMethod>(
    method: M,
    params: Requests[M]['params'],
    signal?: AbortSignal,
  ): Promise<Requests[M]['result']> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (v: unknown) => void, reject });
      signal?.addEventListener('abort', () => {
        if (!this.waiting.delete(id)) return;
        this.send({ type: 'cancel', id });
        reject(new RequestError('cancelled', true));
      });
      this.send({ type: 'request', id, method, params });
    });
  }

  /** Remembers what is shown, for the next page of this panel and the next reload of the window. */
  remember(args: PanelArguments, ui: unknown): void {
    this.api.setState({ version: 1, args, ui });
    this.send({ type: 'remember', args, ui });
  }
}

const live = (): HTMLElement | null => document.getElementById('live');

/** Says something to screen readers. */
export function announce(text: string): void {
  const region = live();
  if (region) region.textContent = text;
}
