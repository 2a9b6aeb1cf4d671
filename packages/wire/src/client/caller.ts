import type { Clock, Prng } from '@muster/base';
import { ERRORS, GrpcCode } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import type { Method } from '../convert/methods.ts';
import type { Balancer } from './balancer.ts';
import type { EndpointChannel, Sending } from './channel.ts';
import { CallFailure } from './failure.ts';
import { CLIENT_LIMITS } from './limits.ts';
import type { Tokens } from './tokens.ts';

/**
 * Whether a call may be sent again when nobody knows what became of it (reference 6.3): `repeatable` calls change
 * nothing, or the same thing twice; `once` is sent again only when it cannot have been received.
 */
export type Repeat = 'repeatable' | 'once';

/** Sends calls to whichever member is there, again where that is safe. */
export class Caller {
  readonly balancer: Balancer;
  readonly tokens: Tokens;
  readonly clock: Clock;
  readonly prng: Prng;

  constructor(balancer: Balancer, tokens: Tokens, clock: Clock, prng: Prng) {
    this.balancer = balancer;
    this.tokens = tokens;
    this.clock = clock;
    this.prng = prng;
  }

  /** Rejects with a `KvError`. */
  async unary<Q, A>(
    method: Method<Q, A>,
    request: Q,
    repeat: Repeat,
    options: CallOptions | undefined,
  ): Promise<A> {
    return this.attempt(repeat, options, (channel, sending) => channel.unary(method, request, sending));
  }

  /** Runs `call` on one endpoint after the other for as long as trying again is safe and of use. */
  async attempt<T>(
    repeat: Repeat,
    options: CallOptions | undefined,
    call: (channel: EndpointChannel, sending: Sending) => Promise<T>,
  ): Promise<T> {
    const endMs = options?.timeoutMs === undefined ? undefined : this.clock.nowMs() + options.timeoutMs;
    const leftMs = () => (endMs === undefined ? undefined : endMs - this.clock.nowMs());
    let authTries = 0;
    for (let tries = 1; ; tries++) {
      let token: string | undefined;
      let channel: EndpointChannel | undefined;
      try {
        const left = leftMs();
        if (left !== undefined && left <= 0) throw deadline();
        channel = await this.balancer.ready(left, options?.signal);
        token = await this.tokens.of(options);
        const requireLeader = options?.requireLeader ?? false;
        const answer = await call(channel, {
          token,
          requireLeader,
          timeoutMs: leftMs(),
          signal: options?.signal,
        });
        channel.succeeded();
        return answer;
      } catch (thrown) {
        const failure = asFailure(thrown);
        if (channel) judge(channel, failure, options?.signal);
        if (this.tokens.renewable(options, failure) && authTries++ < CLIENT_LIMITS.authTriesMax) {
          this.tokens.forget(token);
          if (authTries > 1) await this.pause(CLIENT_LIMITS.retryPauseMs, options?.signal);
          continue;
        }
        if (!channel || tries >= CLIENT_LIMITS.triesMax || !again(repeat, failure)) throw failure.toKvError();
        const left = leftMs() ?? Number.POSITIVE_INFINITY;
        if (left <= CLIENT_LIMITS.retryPauseMs) throw failure.toKvError();
        await this.#pauseAfter(tries, options?.signal);
      }
    }
  }

  pause(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.clock.cancel(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = this.clock.schedule(ms, done);
      signal?.addEventListener('abort', done, { once: true });
    });
  }

  /** Once per round over a quorum of the endpoints, 25 ms and up to a tenth more or less. */
  async #pauseAfter(tries: number, signal: AbortSignal | undefined): Promise<void> {
    const quorum = Math.floor(this.balancer.size / 2) + 1;
    if (tries % quorum !== 0) return;
    await this.pause(CLIENT_LIMITS.retryPauseMs * (0.9 + this.prng.float() * 0.2), signal);
  }
}

const deadline = () => new CallFailure(GrpcCode.DEADLINE_EXCEEDED, 'context deadline exceeded', true);

function again(repeat: Repeat, failure: CallFailure): boolean {
  return failure.unavailable && (failure.notSent || repeat === 'repeatable');
}

/** A member that cannot serve, or that does not answer in time, is passed over for a while. */
export function judge(channel: EndpointChannel, failure: CallFailure, signal: AbortSignal | undefined): void {
  if (signal?.aborted) return;
  const late = failure.code === GrpcCode.DEADLINE_EXCEEDED && !failure.notSent;
  if (failure.unavailable || late) channel.failed();
  else if (failure.code !== GrpcCode.CANCELLED) channel.succeeded();
}

export function asFailure(thrown: unknown): CallFailure {
  if (thrown instanceof CallFailure) return thrown;
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return new CallFailure(GrpcCode.INTERNAL, text === '' ? ERRORS.INTERNAL.text : text, true, false);
}
