import { KvError } from '@muster/contract';
import type { CallOptions, ConcurrencyApi, KeyValue, LeaderKey, WithHeader } from '@muster/kv';
import { CONCURRENCY_METHODS as M, STREAM_METHODS } from '../convert/methods.ts';
import type { Caller } from './caller.ts';
import { CLIENT_LIMITS } from './limits.ts';
import { streamed } from './server-stream.ts';

/** The lock and election services of a remote cluster. */
export class RemoteConcurrency implements ConcurrencyApi {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  lock(
    request: { readonly name: Uint8Array; readonly lease: bigint },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly key: Uint8Array }>> {
    return this.#caller.unary(M.lock, request, 'once', options);
  }

  unlock(request: { readonly key: Uint8Array }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.#caller.unary(M.unlock, request, 'once', options);
  }

  campaign(
    request: { readonly name: Uint8Array; readonly lease: bigint; readonly value: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly leader: LeaderKey }>> {
    return this.#caller.unary(M.campaign, request, 'once', options);
  }

  proclaim(
    request: { readonly leader: LeaderKey | undefined; readonly value: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.#caller.unary(M.proclaim, request, 'once', options);
  }

  leader(
    request: { readonly name: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly kv: KeyValue }>> {
    return this.#caller.unary(M.leader, request, 'repeatable', options);
  }

  /** Survives the loss of the member that is asked: what was told already is not told again. */
  async *observe(
    request: { readonly name: Uint8Array },
    options?: CallOptions,
  ): AsyncGenerator<WithHeader<{ readonly kv: KeyValue }>, void, undefined> {
    let told = 0;
    for (;;) {
      try {
        const answers = streamed<WithHeader<{ readonly kv: KeyValue }>>(
          this.#caller,
          options,
          (channel, sending) => channel.serverStream(STREAM_METHODS.observe, request, sending),
        );
        for await (const answer of answers) {
          if (answer.kv.modRevision <= told) continue;
          told = answer.kv.modRevision;
          yield answer;
        }
        return;
      } catch (error) {
        const lost = error instanceof KvError && error.row.retryable && told > 0;
        if (!lost || options?.signal?.aborted) throw error;
        await this.#caller.pause(CLIENT_LIMITS.watchReopenFirstMs, options?.signal);
      }
    }
  }

  resign(
    request: { readonly leader: LeaderKey | undefined },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    return this.#caller.unary(M.resign, request, 'once', options);
  }
}
