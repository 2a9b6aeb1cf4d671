import { EMPTY_BYTES } from '@muster/base';
import { KvError } from '@muster/contract';
import type {
  ApplyOutcome,
  AuthStore,
  CallOptions,
  Command,
  Origin,
  WatchHandle,
  WatchRequest,
  WatchSink,
  WithHeader,
} from '@muster/kv';
import { checkRead } from '@muster/kv';
import { NONE } from '@muster/raft';
import { AuthGate } from './auth-gate.ts';
import type { SignedTokens } from './auth-ports.ts';
import { lateWatch } from './late-watch.ts';
import type { LeaderAnswer, LeaderCall } from './leader-calls.ts';
import type { Member } from './member.ts';
import type { WriteDone } from './proposer.ts';
import { reasonAgainstWatch, watchReason } from './watch-rights.ts';

/** Times that a write is proposed again because rights changed between its check and its apply. */
const OLD_REVISION_RETRIES = 3;

/** Throws what keeps a caller from something. */
export type Check = (auth: AuthStore, origin: Origin) => void;

type ApplyResult = Extract<ApplyOutcome, { result: unknown }>['result'];
export type Result<T extends ApplyResult['type']> = Extract<ApplyResult, { type: T }>;

/** What every call of `LocalApi` is made of: a header, a read barrier, a replicated command, a call to the leader. */
export class LocalCalls {
  readonly member: Member;
  readonly gate: AuthGate;

  constructor(member: Member, signedTokens?: SignedTokens) {
    this.member = member;
    this.gate = new AuthGate(member, signedTokens, (options) => this.barrier(options));
  }

  /** A watch that may not be is told so by a lone `canceled`, as every refused watch. */
  watch(request: WatchRequest, sink: WatchSink, options: CallOptions): WatchHandle {
    const { hub } = this.member;
    try {
      this.admit(options);
    } catch (error) {
      return hub.refuse(sink, KvError.from(error).message);
    }
    const refused = (error: unknown) => hub.refuse(sink, watchReason(error));
    try {
      const origin = this.gate.identify(options);
      if (!(origin instanceof Promise) && this.#reasonAgainst(origin, request) === undefined) {
        return this.#startWatch(request, sink, options, origin);
      }
      return lateWatch(
        this.#lateOrigin(request, options, origin).then(
          (settled) => () => {
            // Rights may have gone again since they were judged, when there was no watch yet to take them from.
            const reason = this.#reasonAgainst(settled, request);
            if (reason !== undefined) return hub.refuse(sink, reason);
            return this.#startWatch(request, sink, options, settled);
          },
          (error) => () => refused(error),
        ),
      );
    } catch (error) {
      return refused(error);
    }
  }

  #reasonAgainst(origin: Origin, { key, rangeEnd = EMPTY_BYTES }: WatchRequest): string | undefined {
    return reasonAgainstWatch(this.member.machine.auth, origin, { key, rangeEnd });
  }

  /** Rights may have been given that this member has not heard of yet. Rejects when the watch may not be. */
  async #lateOrigin(
    request: WatchRequest,
    options: CallOptions,
    identified: Origin | Promise<Origin>,
  ): Promise<Origin> {
    const { key, rangeEnd } = request;
    return this.permit(options, (auth, origin) => checkRead(auth, origin, key, rangeEnd), identified);
  }

  #startWatch(request: WatchRequest, sink: WatchSink, options: CallOptions, origin: Origin): WatchHandle {
    const { hub, watchdog } = this.member;
    const { certificateName } = options;
    // Users may come to count while it lasts: then it is this user's.
    const isNamed = origin === 'anonymous' && certificateName !== undefined;
    const holder: Origin = isNamed ? { username: certificateName, authRevision: 0 } : origin;
    if (!options.requireLeader) return hub.watch(request, sink, holder);
    return watchdog.watch((what, into) => hub.watch(what, into, holder), request, sink);
  }

  /**
   * Resolves with who calls once `check` lets it pass. What this member knows may be old: it refuses only after it has
   * caught up with the cluster.
   */
  async permit(
    options: CallOptions,
    check: Check,
    identified: Origin | Promise<Origin> = this.gate.identify(options),
  ): Promise<Origin> {
    const origin = identified instanceof Promise ? await identified : identified;
    try {
      return await this.#checked(options, origin, check);
    } catch (error) {
      if (KvError.from(error).code !== 'PERMISSION_DENIED') throw error;
    }
    await this.barrier(options);
    return this.#checked(options, origin, check);
  }

  /** Behind a read barrier. `read` runs in the turn of `check`: nothing is applied between the two. */
  async permitRead<T>(options: CallOptions, serializable: boolean, check: Check, read: () => T): Promise<T> {
    const identified = this.gate.identify(options);
    const origin = identified instanceof Promise ? await identified : identified;
    if (!serializable) await this.barrier(options);
    let now = this.gate.again(origin, options);
    // Rights may change again while a token is looked at.
    while (now instanceof Promise) now = this.gate.again(await now, options);
    check(this.member.machine.auth, now);
    return read();
  }

  async #checked(options: CallOptions, before: Origin, check: Check): Promise<Origin> {
    let now = this.gate.again(before, options);
    while (now instanceof Promise) now = this.gate.again(await now, options);
    check(this.member.machine.auth, now);
    return now;
  }

  /**
   * Throws what keeps this member from answering at all: a learner serves nothing but what is `forLearners` (reference
   * 8.3), and who wants a leader is told at once that there is none. The server's own housekeeping is always served.
   */
  admit(options: CallOptions, forLearners = false): void {
    if (options.internal) return;
    if (!forLearners && this.member.isLearner) throw new KvError('LEARNER_UNSUPPORTED');
    if (options.requireLeader && this.member.soft.leader === NONE) throw new KvError('NO_LEADER');
  }

  withHeader<T extends object>(result: T): WithHeader<T> {
    const revision = (result as { revision?: number }).revision ?? this.member.machine.currentRevision;
    return { ...result, header: this.member.header(revision) };
  }

  async barrier(options: CallOptions): Promise<void> {
    this.admit(options);
    return new Promise((resolve, reject) => {
      const stop = onAbort(options.signal, reject);
      this.member.read(options.timeoutMs, (error) => {
        stop();
        if (error) reject(error);
        else resolve();
      });
    });
  }

  async write<T extends ApplyResult['type']>(
    command: Command,
    options: CallOptions,
    type: T,
  ): Promise<Result<T>> {
    if (!this.member.machine.quotaAllows(command)) {
      await this.#writer(command, options);
      await this.#refuseForSpace(options);
    }
    return this.replicate(command, options, type);
  }

  /** etcd's rule: whoever meets the quota raises the alarm for itself, and the alarm stops writes everywhere. */
  async #refuseForSpace(options: CallOptions): Promise<never> {
    const memberId = this.member.id;
    const raised = this.member.machine.alarms().some((a) => a.memberId === memberId && a.alarm === 'nospace');
    if (!raised) {
      await this.replicate(
        { type: 'alarm', action: 'activate', memberId, alarm: 'nospace' },
        { ...options, internal: true },
        'alarm',
      );
    }
    throw new KvError('NO_SPACE');
  }

  /**
   * Replicates a command in the name of whoever calls. It is judged here, so that what may not be does not reach the log,
   * and again where it is applied.
   */
  async replicate<T extends ApplyResult['type']>(
    command: Command,
    options: CallOptions,
    type: T,
  ): Promise<Result<T>> {
    this.admit(options);
    for (let retries = 0; ; retries++) {
      const writer = this.#writer(command, options);
      const origin = writer instanceof Promise ? await writer : writer;
      try {
        return await this.#submit(command, options, type, origin);
      } catch (error) {
        if (retries === OLD_REVISION_RETRIES || !this.#mayKnowBetter(error, origin, options)) throw error;
      }
    }
  }

  /**
   * Whether a write was refused for what this member knew of its caller and by now knows better: nothing was changed. A
   * signed token is refused at the next look, for it names its revision.
   */
  #mayKnowBetter(error: unknown, origin: Origin, { token, certificateName }: CallOptions): boolean {
    if (!(error instanceof KvError)) return false;
    if (typeof origin === 'object') return error.code === 'AUTH_OLD_REVISION';
    const hasCredential = token !== undefined || certificateName !== undefined;
    return origin === 'anonymous' && error.code === 'USER_EMPTY' && hasCredential;
  }

  /** A promise only where it takes one: writes of one caller keep their order. */
  #writer(command: Command, options: CallOptions): Origin | Promise<Origin> {
    const { machine } = this.member;
    const origin = this.gate.identify(options);
    if (!(origin instanceof Promise) && machine.refusalFor(command, origin) === undefined) return origin;
    const check: Check = (_, now) => {
      const refusal = this.member.machine.refusalFor(command, now);
      if (refusal) throw refusal;
    };
    return this.permit(options, check, origin);
  }

  #submit<T extends ApplyResult['type']>(
    command: Command,
    options: CallOptions,
    type: T,
    origin: Origin,
  ): Promise<Result<T>> {
    return new Promise((resolve, reject) => {
      const stop = onAbort(options.signal, reject);
      const done: WriteDone = (outcome, error) => {
        stop();
        if (error) reject(error);
        else if (!outcome) reject(new KvError('INTERNAL', { detail: 'a write ended without an outcome' }));
        else if ('error' in outcome) reject(outcome.error);
        else if (outcome.result.type !== type) {
          reject(new KvError('INTERNAL', { detail: `${command.type} answered ${outcome.result.type}` }));
        } else resolve(outcome.result as Result<T>);
      };
      this.member.submit(command, options.timeoutMs, done, origin);
    });
  }

  async callLeader<T extends 'keepAlive' | 'timeToLive' | 'learnerReady'>(
    call: LeaderCall,
    options: CallOptions,
    type: T,
  ): Promise<Extract<LeaderAnswer, { type: T }>> {
    this.admit(options);
    return new Promise((resolve, reject) => {
      const stop = onAbort(options.signal, reject);
      this.member.callLeader(call, options.timeoutMs, (answer, error) => {
        stop();
        if (error) reject(error);
        else if (answer?.type !== type)
          reject(new KvError('INTERNAL', { detail: `${type} answered ${answer?.type}` }));
        else resolve(answer as Extract<LeaderAnswer, { type: T }>);
      });
    });
  }
}

/** Rejects when the caller gives up; returns how to stop listening. */
function onAbort(signal: AbortSignal | undefined, reject: (error: KvError) => void): () => void {
  if (!signal) return () => {};
  const abort = () => reject(new KvError('CANCELED'));
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  return () => signal.removeEventListener('abort', abort);
}
