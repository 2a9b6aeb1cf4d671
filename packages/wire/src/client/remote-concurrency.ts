import { KvError } from '@muster/contract';
import type { CallOptions, ConcurrencyApi, KeyValue, LeaderKey, WithHeader } from '@muster/kv';
import { Election, type LeaderResponse } from '../gen/election_pb.js';
import { Lock } from '../gen/lock_pb.js';
import type { Caller } from './caller.ts';
import { decodeHeader, decodeLeaderKey, decodeLeaderKv } from './decode.ts';
import { encodeLeaderKey } from './encode.ts';
import { CLIENT_LIMITS } from './limits.ts';
import { streamed } from './server-stream.ts';

/** The lock and election services of a remote cluster. */
export class RemoteConcurrency implements ConcurrencyApi {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  async lock(
    request: { readonly name: Uint8Array; readonly lease: bigint },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly key: Uint8Array }>> {
    const answer = await this.#caller.unary(Lock.method.lock, request, 'once', options);
    return { header: decodeHeader(answer.header), key: answer.key };
  }

  async unlock(request: { readonly key: Uint8Array }, options?: CallOptions): Promise<WithHeader<unknown>> {
    const answer = await this.#caller.unary(Lock.method.unlock, request, 'once', options);
    return { header: decodeHeader(answer.header) };
  }

  async campaign(
    request: { readonly name: Uint8Array; readonly lease: bigint; readonly value: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly leader: LeaderKey }>> {
    const answer = await this.#caller.unary(Election.method.campaign, request, 'once', options);
    return { header: decodeHeader(answer.header), leader: decodeLeaderKey(answer.leader) };
  }

  async proclaim(
    request: { readonly leader: LeaderKey | undefined; readonly value: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    const { leader, value } = request;
    const message = leader === undefined ? { value } : { leader: encodeLeaderKey(leader), value };
    const answer = await this.#caller.unary(Election.method.proclaim, message, 'once', options);
    return { header: decodeHeader(answer.header) };
  }

  async leader(
    request: { readonly name: Uint8Array },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly kv: KeyValue }>> {
    const answer = await this.#caller.unary(Election.method.leader, request, 'repeatable', options);
    return { header: decodeHeader(answer.header), kv: decodeLeaderKv(answer.kv) };
  }

  /** Survives the loss of the member that is asked: what was told already is not told again. */
  async *observe(
    request: { readonly name: Uint8Array },
    options?: CallOptions,
  ): AsyncGenerator<WithHeader<{ readonly kv: KeyValue }>, void, undefined> {
    let told = 0;
    for (;;) {
      try {
        const answers = streamed(
          this.#caller,
          options,
          (answer: LeaderResponse) => answer,
          (channel, sending) => channel.serverStream(Election.method.observe, request, sending),
        );
        for await (const { header, kv } of answers) {
          const leader = decodeLeaderKv(kv);
          if (leader.modRevision <= told) continue;
          told = leader.modRevision;
          yield { header: decodeHeader(header), kv: leader };
        }
        return;
      } catch (error) {
        const lost = error instanceof KvError && error.row.retryable && told > 0;
        if (!lost || options?.signal?.aborted) throw error;
        await this.#caller.pause(CLIENT_LIMITS.watchReopenFirstMs, options?.signal);
      }
    }
  }

  async resign(
    request: { readonly leader: LeaderKey | undefined },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    const { leader } = request;
    const message = leader === undefined ? {} : { leader: encodeLeaderKey(leader) };
    const answer = await this.#caller.unary(Election.method.resign, message, 'once', options);
    return { header: decodeHeader(answer.header) };
  }
}
