import { backoffDelayMs, type Timer } from '@muster/base';
import { ERRORS, GrpcCode } from '@muster/contract';
import type { CallOptions, WatchHandle, WatchRequest, WatchSink } from '@muster/kv';
import { NO_HEADER } from '../convert/header.ts';
import { ETCD_METHODS, STREAM_METHODS } from '../convert/methods.ts';
import type { WatchMessage } from '../convert/watch.ts';
import { asFailure, type Caller, judge } from './caller.ts';
import type { EndpointChannel, Sending } from './channel.ts';
import type { CallFailure } from './failure.ts';
import { CLIENT_LIMITS } from './limits.ts';
import type { ClientLog } from './options.ts';
import { RemoteWatch, type WatchOwner } from './remote-watch.ts';
import { WatchStream } from './watch-stream.ts';

const REOPEN = { firstMs: CLIENT_LIMITS.watchReopenFirstMs, maxMs: CLIENT_LIMITS.watchReopenMaxMs };

/** All watches on a remote cluster: those with the same metadata share streams. */
export class WatchClient {
  readonly #caller: Caller;
  readonly #log: ClientLog | undefined;
  readonly #groups = new Map<string, WatchGroup>();

  constructor(caller: Caller, log: ClientLog | undefined) {
    this.#caller = caller;
    this.#log = log;
  }

  watch(request: WatchRequest, sink: WatchSink, options: CallOptions | undefined): WatchHandle {
    const key = `${options?.requireLeader ?? false} ${options?.token ?? ''}`;
    let group = this.#groups.get(key);
    if (!group && this.#groups.size >= CLIENT_LIMITS.streamGroups)
      return this.#refuse(request, sink, options);
    if (!group) {
      const made: WatchGroup = new WatchGroup(this.#caller, options, this.#log, () => {
        // Another may have taken its place since it ran empty.
        if (this.#groups.get(key) === made) this.#groups.delete(key);
      });
      this.#groups.set(key, made);
      group = made;
    }
    return group.watch(request, sink, options);
  }

  close(): void {
    for (const group of [...this.#groups.values()]) group.close();
  }

  #refuse(request: WatchRequest, sink: WatchSink, options: CallOptions | undefined): WatchHandle {
    const nobody: WatchOwner = { attach() {}, detach() {}, wantProgress() {} };
    const watch = new RemoteWatch(request, sink, options, nobody, this.#caller.clock);
    this.#caller.clock.defer(() => watch.canceled(NO_HEADER, 0, ERRORS.TOO_MANY_REQUESTS.text));
    return watch;
  }
}

/** The watches of one credential, on as many streams as their number takes, and again when a stream is lost. */
class WatchGroup implements WatchOwner {
  readonly #caller: Caller;
  readonly #options: CallOptions;
  readonly #log: ClientLog | undefined;
  readonly #onEmpty: () => void;
  readonly #all = new Set<RemoteWatch>();
  readonly #streams = new Set<WatchStream>();
  readonly #waiting = new Set<RemoteWatch>();
  readonly #abort = new AbortController();
  #opening = false;
  #failures = 0;
  #authTries = 0;
  #timer: Timer | undefined;

  constructor(
    caller: Caller,
    options: CallOptions | undefined,
    log: ClientLog | undefined,
    onEmpty: () => void,
  ) {
    this.#caller = caller;
    const { token, requireLeader } = options ?? {};
    this.#options = {
      ...(token === undefined ? {} : { token }),
      ...(requireLeader === undefined ? {} : { requireLeader }),
    };
    this.#log = log;
    this.#onEmpty = onEmpty;
  }

  watch(request: WatchRequest, sink: WatchSink, options: CallOptions | undefined): RemoteWatch {
    const watch = new RemoteWatch(request, sink, options, this, this.#caller.clock);
    this.#all.add(watch);
    options?.signal?.addEventListener('abort', () => watch.cancel(), { once: true });
    if (options?.signal?.aborted) watch.cancel();
    else this.attach(watch);
    return watch;
  }

  close(): void {
    this.#abort.abort();
    if (this.#timer) this.#caller.clock.cancel(this.#timer);
    for (const stream of this.#streams) stream.close();
    for (const watch of [...this.#all]) this.#finish(watch, ERRORS.CANCELED.text);
  }

  attach(watch: RemoteWatch): void {
    for (const stream of this.#streams) {
      if (stream.stale || stream.size >= CLIENT_LIMITS.watchesPerStream) continue;
      stream.add(watch);
      return;
    }
    this.#waiting.add(watch);
    if (!this.#timer) void this.#open();
  }

  detach(watch: RemoteWatch): void {
    if (watch.done) this.#all.delete(watch);
    this.#waiting.delete(watch);
    for (const stream of this.#streams) stream.remove(watch);
    this.#sweep();
  }

  wantProgress(watch: RemoteWatch): void {
    for (const stream of this.#streams) if (stream.has(watch)) stream.requestProgress();
  }

  /** Opens a stream for those that wait, as soon as an endpoint is connected. */
  async #open(): Promise<void> {
    if (this.#opening) return;
    this.#opening = true;
    let channel: EndpointChannel | undefined;
    let token: string | undefined;
    try {
      channel = await this.#caller.balancer.ready(undefined, this.#abort.signal);
      token = await this.#caller.tokens.of(this.#options);
      const sending = { token, requireLeader: this.#options.requireLeader ?? false };
      if (this.#waiting.size > 0) this.#start(channel, sending);
      this.#opening = false;
    } catch (thrown) {
      this.#opening = false;
      if (!this.#abort.signal.aborted) this.#failed(asFailure(thrown), [...this.#waiting], token);
    }
    if (this.#waiting.size > 0 && !this.#timer) void this.#open();
  }

  #start(channel: EndpointChannel, sending: Sending): void {
    const stream: WatchStream = new WatchStream(
      channel.duplex(STREAM_METHODS.watch, sending),
      sending.token,
      this.#caller.clock,
      {
        onCreated: () => {
          this.#failures = 0;
          this.#authTries = 0;
          channel.succeeded();
        },
        onCanceled: (watch, answer) => this.#canceled(watch, answer, stream),
        onEnd: (failure, watches) => {
          this.#streams.delete(stream);
          judge(channel, failure, this.#abort.signal);
          this.#failed(failure, watches, sending.token);
        },
        onEmpty: () => {
          this.#streams.delete(stream);
          stream.close();
        },
      },
    );
    this.#streams.add(stream);
    for (const watch of this.#waiting) {
      if (stream.size >= CLIENT_LIMITS.watchesPerStream) break;
      this.#waiting.delete(watch);
      stream.add(watch);
    }
    void trustsProgress(channel, sending).then((trusted) => {
      stream.progressTrusted = trusted;
    });
  }

  /** A stream was lost, or not to be had: its watches wait for another, unless there can be none. */
  #failed(failure: CallFailure, watches: readonly RemoteWatch[], token: string | undefined): void {
    if (this.#renews(failure, token)) {
      for (const watch of watches) this.attach(watch);
      return;
    }
    const noLeader = failure.message === ERRORS.NO_LEADER.text;
    const passing = failure.unavailable || failure.code === GrpcCode.INTERNAL;
    if (!passing || noLeader) {
      for (const watch of watches) this.#finish(watch, failure.toKvError().message);
      return;
    }
    this.#log?.debug(
      { error: failure.message, watches: watches.length },
      'a stream of watches is opened again',
    );
    for (const watch of watches) this.#waiting.add(watch);
    this.#later();
  }

  #later(): void {
    if (this.#timer || this.#abort.signal.aborted) return;
    const delayMs = backoffDelayMs(REOPEN, this.#failures++, this.#caller.prng);
    this.#timer = this.#caller.clock.schedule(delayMs, () => {
      this.#timer = undefined;
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const watch of waiting) this.attach(watch);
    });
  }

  #renews(failure: { readonly message: string }, token: string | undefined): boolean {
    if (!this.#caller.tokens.renewable(this.#options, failure)) return false;
    if (this.#authTries++ >= CLIENT_LIMITS.authTriesMax) return false;
    this.#caller.tokens.forget(token);
    return true;
  }

  #canceled(watch: RemoteWatch, answer: WatchMessage, stream: WatchStream): void {
    const reason = answer.cancelReason ?? '';
    // A refusal comes as gRPC's status in one line.
    const message = reason.replace(/^rpc error: code = \w+ desc = /, '');
    if (answer.created && this.#renews({ message }, stream.token)) {
      stream.stale = true;
      this.attach(watch);
      return;
    }
    this.#all.delete(watch);
    watch.canceled(answer.header, answer.compactRevision ?? 0, reason);
    this.#sweep();
  }

  #finish(watch: RemoteWatch, reason: string): void {
    this.#all.delete(watch);
    this.#waiting.delete(watch);
    watch.canceled(NO_HEADER, 0, reason);
    this.#sweep();
  }

  #sweep(): void {
    if (this.#all.size > 0) return;
    if (this.#timer) this.#caller.clock.cancel(this.#timer);
    this.#timer = undefined;
    this.#abort.abort();
    this.#onEmpty();
  }
}

/**
 * Releases before 3.4.25 and 3.5.8 answer a request for progress while watchers still read history (reference 2.8).
 * A server that does not say its version is not trusted.
 */
async function trustsProgress(channel: EndpointChannel, sending: Sending): Promise<boolean> {
  try {
    const timeoutMs = CLIENT_LIMITS.dialTimeoutMs;
    const { version } = await channel.unary(ETCD_METHODS.status, {}, { ...sending, timeoutMs });
    return answersProgressTruly(version);
  } catch {
    return false;
  }
}

/** Exported for its test. */
export function answersProgressTruly(version: string): boolean {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.+-]/).map(Number);
  if (major !== 3) return major > 3;
  if (minor === 4) return patch >= 25;
  return minor === 5 ? patch >= 8 : minor > 5;
}
