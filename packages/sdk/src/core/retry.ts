import type { HttpResponse } from './transport.ts';

/**
 * What a call may do after a failure.
 *
 * - `safe`: repeating has no effect of its own (reads, renewals, registering with a chosen lease id).
 * - `conditional`: takes effect at most once however often it is sent, because it demands a revision or the key's
 *   absence; but after an attempt whose fate is unknown, a refusal may be its own doing and is marked `ambiguous`.
 * - `once`: may not be sent again once the server may have seen it.
 */
export type Repeat = 'safe' | 'conditional' | 'once';

/**
 * Answers that say the request was refused before anything was done, so that even a `once` call may go elsewhere.
 * Timeouts and leader changes are not among them: what was proposed may still be committed.
 */
const REFUSED_UNTOUCHED: ReadonlySet<string> = new Set([
  'NO_LEADER',
  'NOT_LEADER',
  'TOO_MANY_REQUESTS',
  'RATE_LIMITED',
  'LEARNER_UNSUPPORTED',
  'DISK_FULL',
  'AUTH_OLD_REVISION',
]);

type AttemptFailure = {
  /** The failure may have left an effect. */
  readonly maybeSent: boolean;
  readonly retryable: boolean;
  readonly code: string;
};

type RetryVerdict = 'again' | 'fail' | 'fail-ambiguous';

/** Decides after one failed attempt. `ambiguousBefore`: an earlier attempt may have taken effect. Pure. */
export function afterFailure(
  repeat: Repeat,
  failure: AttemptFailure,
  ambiguousBefore: boolean,
): RetryVerdict {
  const touched = failure.maybeSent && !REFUSED_UNTOUCHED.has(failure.code);
  if (failure.retryable && (!touched || repeat !== 'once')) return 'again';
  const inDoubt =
    (touched && failure.retryable) || (ambiguousBefore && failure.code === 'PRECONDITION_FAILED');
  return repeat !== 'safe' && inDoubt ? 'fail-ambiguous' : 'fail';
}

/** Whether this failure leaves the call's effect unknown. Pure. */
export function mayHaveActed(failure: AttemptFailure): boolean {
  return failure.maybeSent && failure.retryable && !REFUSED_UNTOUCHED.has(failure.code);
}

/** Milliseconds of a `Retry-After` header in seconds, or 0. */
export function retryAfterMs(response: HttpResponse): number {
  const seconds = Number(response.header('retry-after') ?? '');
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : 0;
}
