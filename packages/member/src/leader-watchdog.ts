import { ERRORS } from '@muster/contract';
import type { ResponseHeader, WatchHandle, WatchRequest, WatchSink } from '@muster/kv';

/** Checks in a row without a leader after which a watch that wants one is canceled (etcd: 3). */
const MISSED_MAX = 3;

/**
 * Watches whose callers want them to end when the member is cut off from the cluster (etcd's metadata `hasleader`):
 * once an election timeout it is looked whether there is a leader.
 */
export class LeaderWatchdog {
  readonly #electionMs: number;
  readonly #hasLeader: () => boolean;
  readonly #header: () => ResponseHeader;
  readonly #lost = new Set<() => void>();
  #missed = 0;
  #nextMs = 0;

  constructor(options: {
    readonly electionMs: number;
    readonly hasLeader: () => boolean;
    readonly header: () => ResponseHeader;
  }) {
    this.#electionMs = options.electionMs;
    this.#hasLeader = options.hasLeader;
    this.#header = options.header;
  }

  /** `start` starts the watch itself. */
  watch(
    start: (request: WatchRequest, sink: WatchSink) => WatchHandle,
    request: WatchRequest,
    sink: WatchSink,
  ): WatchHandle {
    const handle = start(request, (response) => {
      if (response.type === 'canceled') this.#lost.delete(lost);
      return sink(response);
    });
    const lost = (): void => {
      handle.cancel();
      const reason = ERRORS.NO_LEADER.text;
      sink({ type: 'canceled', header: this.#header(), compactRevision: 0, reason });
    };
    this.#lost.add(lost);
    return {
      cancel: () => {
        this.#lost.delete(lost);
        handle.cancel();
      },
      resume: () => handle.resume(),
      requestProgress: () => handle.requestProgress(),
      get synced() {
        return handle.synced;
      },
      get nextRevision() {
        return handle.nextRevision;
      },
    };
  }

  /** Called often. */
  tick(nowMs: number): void {
    if (nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + this.#electionMs;
    this.#missed = this.#hasLeader() ? 0 : this.#missed + 1;
    if (this.#missed < MISSED_MAX) return;
    const lost = [...this.#lost];
    this.#lost.clear();
    for (const end of lost) end();
  }
}
