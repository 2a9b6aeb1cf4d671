import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { type Clock, type Deferred, deferred, type Timer } from '@muster/base';
import { GrpcCode } from '@muster/contract';
import type { CallOptions, WithHeader } from '@muster/kv';
import { STREAM_METHODS } from '../convert/methods.ts';
import type { Caller } from './caller.ts';
import type { EndpointChannel, Sending } from './channel.ts';
import { CallFailure, failureOf } from './failure.ts';
import { CLIENT_LIMITS } from './limits.ts';

type Renewal = WithHeader<{ readonly id: bigint; readonly ttlSeconds: number }>;
type Call = ClientDuplexStream<{ readonly id: bigint }, Renewal>;

/** Keepalives of all leases, over one stream per endpoint and credential. */
export class KeepAlives {
  readonly #caller: Caller;
  readonly #streams = new Map<string, KeepAliveStream>();

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** Renews once. A lease that is not there answers 0 s. */
  renew(id: bigint, options: CallOptions | undefined): Promise<Renewal> {
    return this.#caller.attempt('repeatable', options, (channel, sending) =>
      this.#stream(channel, sending).renew(id, sending),
    );
  }

  close(): void {
    for (const stream of [...this.#streams.values()]) stream.close();
  }

  #stream(channel: EndpointChannel, { token, requireLeader }: Sending): KeepAliveStream {
    const key = `${channel.endpoint.url} ${requireLeader} ${token ?? ''}`;
    const open = this.#streams.get(key);
    if (open) return open;
    if (this.#streams.size >= CLIENT_LIMITS.streamGroups) {
      throw new CallFailure(GrpcCode.RESOURCE_EXHAUSTED, 'too many credentials keep leases alive');
    }
    const call = channel.duplex(STREAM_METHODS.leaseKeepAlive, { token, requireLeader });
    const stream = new KeepAliveStream(call, this.#caller.clock, () => this.#streams.delete(key));
    this.#streams.set(key, stream);
    return stream;
  }
}

/** Answers carry the lease's id, and those of one lease come in the order of its requests. */
class KeepAliveStream {
  readonly #stream: Call;
  readonly #clock: Clock;
  readonly #onEnd: () => void;
  readonly #pending = new Map<bigint, Deferred<Renewal>[]>();
  #size = 0;
  #ended = false;
  #idle: Timer | undefined;

  constructor(stream: Call, clock: Clock, onEnd: () => void) {
    this.#stream = stream;
    this.#clock = clock;
    this.#onEnd = onEnd;
    stream.on('data', (answer: Renewal) => this.#take(answer));
    stream.on('error', (error: ServiceError) => this.#end(failureOf(error)));
    stream.on('end', () =>
      this.#end(new CallFailure(GrpcCode.UNAVAILABLE, 'Connection dropped', false, true)),
    );
  }

  renew(id: bigint, { timeoutMs, signal }: Sending): Promise<Renewal> {
    if (this.#size >= CLIENT_LIMITS.keepAlivesInFlight) {
      throw new CallFailure(GrpcCode.RESOURCE_EXHAUSTED, 'too many keepalives wait for their answers');
    }
    if (this.#idle) this.#clock.cancel(this.#idle);
    this.#idle = undefined;
    const answer = deferred<Renewal>();
    const queue = this.#pending.get(id);
    if (queue) queue.push(answer);
    else this.#pending.set(id, [answer]);
    this.#size++;
    this.#stream.write({ id });
    return this.#within(answer, timeoutMs, signal);
  }

  close(): void {
    this.#end(new CallFailure(GrpcCode.CANCELLED, 'context canceled'));
  }

  /** Who gives up keeps the place in the queue: the answer that comes for it is not a later request's. */
  #within(answer: Deferred<Renewal>, timeoutMs: number | undefined, signal: AbortSignal | undefined) {
    const late = () =>
      answer.reject(new CallFailure(GrpcCode.DEADLINE_EXCEEDED, 'context deadline exceeded'));
    const abort = () => answer.reject(new CallFailure(GrpcCode.CANCELLED, 'context canceled'));
    const timer = timeoutMs === undefined ? undefined : this.#clock.schedule(timeoutMs, late);
    signal?.addEventListener('abort', abort, { once: true });
    return answer.promise.finally(() => {
      if (timer) this.#clock.cancel(timer);
      signal?.removeEventListener('abort', abort);
    });
  }

  #take(answer: Renewal): void {
    const queue = this.#pending.get(answer.id);
    const first = queue?.shift();
    if (!queue || !first) return;
    this.#size--;
    if (queue.length === 0) this.#pending.delete(answer.id);
    first.resolve(answer);
    if (this.#size === 0 && !this.#ended) {
      this.#idle = this.#clock.schedule(CLIENT_LIMITS.keepAliveIdleMs, () => this.close());
    }
  }

  #end(failure: CallFailure): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#idle) this.#clock.cancel(this.#idle);
    this.#onEnd();
    this.#stream.cancel();
    for (const queue of this.#pending.values()) for (const { reject } of queue) reject(failure);
    this.#pending.clear();
  }
}
