import type { Clock, Prng } from '@muster/base';
import { idToHex, KvError } from '@muster/contract';
import type { CallOptions, EtcdApi, ResponseHeader } from '@muster/kv';
import type { GatewayLimits } from '../limits.ts';

/** Where `/v1` writes its log: pino's shape, fields first. */
export type V1Log = {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
};

export type V1Deps = {
  readonly api: EtcdApi;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly limits: GatewayLimits;
  readonly log: V1Log;
  /** Names the store that revisions count in: changes when one is restored. Its cluster id in hex when absent. */
  readonly epoch?: (clusterId: bigint) => string;
  /** Whether a member answers, where the caller knows better than a look at its client URLs. */
  readonly memberHealth?: (memberId: bigint) => boolean | undefined;
  /** Whether anything answers at a member's client URL. Default: a GET of `/livez`. */
  readonly probe?: (clientUrl: string) => Promise<boolean>;
};

/** What every `/v1` handler shares. */
export class V1Context {
  readonly api: EtcdApi;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly limits: GatewayLimits;
  readonly log: V1Log;
  readonly #epoch: (clusterId: bigint) => string;
  readonly #held = new Set<() => void>();
  #streams = 0;
  #clusterId = -1n;
  #epochText = '';

  constructor(deps: V1Deps) {
    this.api = deps.api;
    this.clock = deps.clock;
    this.prng = deps.prng;
    this.limits = deps.limits;
    this.log = deps.log;
    this.#epoch = deps.epoch ?? idToHex;
  }

  epochOf(header: ResponseHeader): string {
    if (header.clusterId !== this.#clusterId) {
      this.#epochText = this.#epoch(header.clusterId);
      this.#clusterId = header.clusterId;
    }
    return this.#epochText;
  }

  /** The store's epoch, asked for when no answer has told it yet. */
  async epoch(): Promise<string> {
    if (this.#epochText === '') this.epochOf((await this.api.status(this.ownCall())).header);
    return this.#epochText;
  }

  /** Streams and held requests that are open now. */
  get streams(): number {
    return this.#streams;
  }

  /** Takes one of the places for streams and held requests; the result gives it back, once. */
  takeStream(): () => void {
    if (this.#streams >= this.limits.streams) {
      throw new KvError('RATE_LIMITED', {
        detail: `${this.limits.streams} streams are open: no more are taken`,
      });
    }
    this.#streams++;
    let taken = true;
    return () => {
      if (taken) this.#streams--;
      taken = false;
    };
  }

  /** Calls `release` when held requests have to be answered; the result takes that back. */
  onRelease(release: () => void): () => void {
    this.#held.add(release);
    return () => this.#held.delete(release);
  }

  /** The server stops: requests that wait for a change are answered as if their time were up. */
  releaseHeld(): void {
    for (const release of this.#held) release();
  }

  /** Call options of a request, from its `X-Timeout` in milliseconds and its token. */
  callOptions(timeoutMs: number | undefined, token?: string): CallOptions {
    const bound = Math.min(timeoutMs ?? this.limits.deadlineMs, this.limits.deadlineMaxMs);
    return { timeoutMs: bound, ...(token === undefined ? {} : { token }) };
  }

  /** A watch lasts: of its request's options only who asks is left. */
  watchCall({ token }: CallOptions): CallOptions {
    return token === undefined ? {} : { token };
  }

  /** Call options of what the gateway asks for itself. */
  ownCall(): CallOptions {
    return { ...this.callOptions(undefined), internal: true };
  }
}

/** The store's revision in a header that has one. */
export function revisionOf(header: ResponseHeader): number {
  return header.revision ?? 0;
}
