import { KvError } from '@muster/contract';
import type { ApplyOutcome, CallOptions, Command, WithHeader } from '@muster/kv';
import type { LeaderAnswer, LeaderCall } from './leader-calls.ts';
import type { Member } from './member.ts';

type ApplyResult = Extract<ApplyOutcome, { result: unknown }>['result'];
export type Result<T extends ApplyResult['type']> = Extract<ApplyResult, { type: T }>;

/** What every call of `LocalApi` is made of: a header, a read barrier, a replicated command, a call to the leader. */
export class LocalCalls {
  readonly member: Member;

  constructor(member: Member) {
    this.member = member;
  }

  withHeader<T extends object>(result: T): WithHeader<T> {
    const revision = (result as { revision?: number }).revision ?? this.member.machine.currentRevision;
    return { ...result, header: this.member.header(revision) };
  }

  barrier(options: CallOptions): Promise<void> {
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
    if (!this.member.machine.quotaAllows(command)) await this.#refuseForSpace(options);
    return this.replicate(command, options, type);
  }

  /** etcd's rule: whoever meets the quota raises the alarm for itself, and the alarm stops writes everywhere. */
  async #refuseForSpace(options: CallOptions): Promise<never> {
    const memberId = this.member.id;
    const raised = this.member.machine.alarms().some((a) => a.memberId === memberId && a.alarm === 'nospace');
    if (!raised) {
      await this.replicate(
        { type: 'alarm', action: 'activate', memberId, alarm: 'nospace' },
        options,
        'alarm',
      );
    }
    throw new KvError('NO_SPACE');
  }

  replicate<T extends ApplyResult['type']>(
    command: Command,
    options: CallOptions,
    type: T,
  ): Promise<Result<T>> {
    return new Promise((resolve, reject) => {
      const stop = onAbort(options.signal, reject);
      this.member.submit(command, options.timeoutMs, (outcome, error) => {
        stop();
        if (error) reject(error);
        else if (!outcome) reject(new KvError('INTERNAL', { detail: 'a write ended without an outcome' }));
        else if ('error' in outcome) reject(outcome.error);
        else if (outcome.result.type !== type) {
          reject(new KvError('INTERNAL', { detail: `${command.type} answered ${outcome.result.type}` }));
        } else resolve(outcome.result as Result<T>);
      });
    });
  }

  callLeader<T extends 'keepAlive' | 'timeToLive'>(
    call: LeaderCall,
    options: CallOptions,
    type: T,
  ): Promise<Extract<LeaderAnswer, { type: T }>> {
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
