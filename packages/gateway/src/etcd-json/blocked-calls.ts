import type { Clock } from '@muster/base';
import { GrpcCode, KvError } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import { StatusError, transportClosing } from './status-error.ts';

/** Calls that wait for others: each ends with its answer, its client, its deadline or the server. */
export class BlockedCalls {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #running = new Set<AbortController>();
  #draining = false;

  /** `max` calls at a time. */
  constructor(clock: Clock, max: number) {
    this.#clock = clock;
    this.#max = max;
  }

  /** Runs a call whose options' signal fires for each of these reasons. */
  async run<T>(options: CallOptions, call: (options: CallOptions) => Promise<T>): Promise<T> {
    if (this.#draining) throw transportClosing();
    if (this.#running.size >= this.#max) {
      throw new StatusError(GrpcCode.RESOURCE_EXHAUSTED, 'etcdserver: too many requests');
    }
    const own = new AbortController();
    const leave = (): void => own.abort();
    options.signal?.addEventListener('abort', leave, { once: true });
    if (options.signal?.aborted) leave();
    const timer =
      options.timeoutMs === undefined
        ? undefined
        : this.#clock.schedule(options.timeoutMs, () => own.abort(new KvError('DEADLINE')));
    this.#running.add(own);
    try {
      return await call({ ...options, signal: own.signal });
    } catch (error) {
      throw this.#draining && own.signal.aborted ? transportClosing() : error;
    } finally {
      this.#running.delete(own);
      if (timer !== undefined) this.#clock.cancel(timer);
      options.signal?.removeEventListener('abort', leave);
    }
  }

  drain(): void {
    this.#draining = true;
    for (const call of this.#running) call.abort();
  }
}
