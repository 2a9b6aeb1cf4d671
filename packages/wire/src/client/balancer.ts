import type { Clock } from '@muster/base';
import { GrpcCode } from '@muster/contract';
import type { EndpointChannel } from './channel.ts';
import { CallFailure } from './failure.ts';

type Waiter = { readonly wake: () => void };

/**
 * In turn over the endpoints that are connected and have not just failed, or always the same one of them for as long as
 * that holds; one that has failed, when there is no other; and waits while none is connected.
 */
export class Balancer {
  readonly #clock: Clock;
  readonly #dialTimeoutMs: number;
  readonly #sticky: boolean;
  readonly #waiters = new Set<Waiter>();
  #channels: readonly EndpointChannel[] = [];
  #turn = 0;
  #closed = false;

  constructor(clock: Clock, dialTimeoutMs: number, sticky: boolean) {
    this.#clock = clock;
    this.#sticky = sticky;
    this.#dialTimeoutMs = dialTimeoutMs;
  }

  get size(): number {
    return this.#channels.length;
  }

  get channels(): readonly EndpointChannel[] {
    return this.#channels;
  }

  /** From now on these are picked; `turn` sets the one to begin with. */
  use(channels: readonly EndpointChannel[], turn = this.#turn): void {
    this.#channels = channels;
    this.#turn = turn;
    this.wake();
  }

  /** A connection came or went. */
  wake(): void {
    for (const { wake } of [...this.#waiters]) wake();
  }

  close(): void {
    this.#closed = true;
    this.wake();
  }

  /** The one to use now, or `undefined` when none is connected. */
  pick(): EndpointChannel | undefined {
    const { length } = this.#channels;
    let second: EndpointChannel | undefined;
    for (let i = 0; i < length; i++) {
      const channel = this.#channels[(this.#turn + i) % length] as EndpointChannel;
      if (channel.healthy) {
        this.#turn = (this.#turn + i + (this.#sticky ? 0 : 1)) % length;
        return channel;
      }
      if (channel.ready) second ??= channel;
    }
    if (second) this.#turn = (this.#channels.indexOf(second) + 1) % length;
    return second;
  }

  /**
   * The one to use as soon as one is connected. Rejects with a `CallFailure` when `timeoutMs` or the dial timeout
   * is over, whichever is first, or by the signal.
   */
  async ready(timeoutMs: number | undefined, signal: AbortSignal | undefined): Promise<EndpointChannel> {
    const endMs = this.#clock.nowMs() + Math.min(timeoutMs ?? this.#dialTimeoutMs, this.#dialTimeoutMs);
    for (;;) {
      if (this.#closed) throw new CallFailure(GrpcCode.CANCELLED, 'the client is closed', true);
      if (signal?.aborted) throw new CallFailure(GrpcCode.CANCELLED, 'context canceled', true);
      const channel = this.pick();
      if (channel) return channel;
      const leftMs = endMs - this.#clock.nowMs();
      if (leftMs <= 0) throw this.#unreachable(timeoutMs);
      await this.#change(leftMs, signal);
    }
  }

  #unreachable(timeoutMs: number | undefined): CallFailure {
    if (timeoutMs !== undefined && timeoutMs < this.#dialTimeoutMs) {
      return new CallFailure(GrpcCode.DEADLINE_EXCEEDED, 'context deadline exceeded', true);
    }
    const urls = this.#channels.map((channel) => channel.endpoint.url).join(', ');
    return new CallFailure(GrpcCode.UNAVAILABLE, `no connection to any of ${urls}`, true);
  }

  #change(withinMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiters.delete(waiter);
        this.#clock.cancel(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const waiter = { wake: done };
      this.#waiters.add(waiter);
      const timer = this.#clock.schedule(withinMs, done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }
}
