import type { ClusterState, SubFrame } from '@muster/contract';
import type { Attachment, Connection, NamedFrame, Subscriber, Verdict } from './connection.ts';
import { Listeners, type Logger, type Off } from './status.ts';

/** Members, leader and term, as the member that answers sees them. */
export interface ClusterView extends AsyncDisposable {
  /** `undefined` until the first answer. It stays what it was while there is no connection. */
  readonly state: ClusterState | undefined;
  on(event: 'change', listener: (state: ClusterState) => void): Off;
  close(): Promise<void>;
}

export class LiveClusterView implements ClusterView, Subscriber {
  readonly #attachment: Attachment;
  readonly #listeners: Listeners<ClusterState>;
  #state: ClusterState | undefined;

  constructor(connection: Connection, logger: Logger) {
    this.#listeners = new Listeners((error) =>
      logger.warn('a view listener threw', { error: String(error) }),
    );
    this.#attachment = connection.attach(this);
  }

  get state(): ClusterState | undefined {
    return this.#state;
  }

  on(_event: 'change', listener: (state: ClusterState) => void): Off {
    return this.#listeners.add(listener);
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    this.#attachment.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  subscribe(id: string): SubFrame {
    return { t: 'sub', id, sel: { cluster: {} } };
  }

  receive(frame: NamedFrame): Verdict {
    if (frame.t === 'end') return frame.problem && !frame.problem.retryable ? 'done' : 'again';
    if (frame.t !== 'cluster') return 'ok';
    const { members, leader, term, revision } = frame;
    this.#state = { members, leader, term, revision };
    this.#listeners.emit(this.#state);
    return 'ok';
  }

  bookmark(): void {}

  detached(): void {}

  closed(): void {
    this.#listeners.clear();
  }
}
