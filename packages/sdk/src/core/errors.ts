import { ERRORS, type ErrorCode } from '@muster/contract';

/** Failures that arise on the client's side and so are not in the contract's table. */
export type ClientErrorCode =
  /** No connection could be made: the server has seen nothing of the call. */
  | 'CONNECT_FAILED'
  /** The connection broke after the call had gone out: the server may have carried it out. */
  | 'CONNECTION_LOST'
  /** The call's own deadline passed. */
  | 'DEADLINE'
  /** The caller's `AbortSignal` fired. */
  | 'ABORTED'
  /** The client (or the watch) was closed. */
  | 'CLOSED'
  /** The peer answered something that is not the contract. */
  | 'BAD_RESPONSE';

/** The stable name of a failure. A newer server may send a name that this version does not know. */
export type MusterErrorCode = ErrorCode | ClientErrorCode | (string & {});

/** A problem document (RFC 9457) as `/v1` answers it; only `code` and `status` are relied upon. */
export type ProblemLike = {
  readonly code?: unknown;
  readonly status?: unknown;
  readonly title?: unknown;
  readonly detail?: unknown;
  readonly retryable?: unknown;
  readonly [member: string]: unknown;
};

type MusterErrorOptions = {
  readonly status?: number;
  readonly retryable?: boolean;
  readonly ambiguous?: boolean;
  readonly problem?: ProblemLike;
  readonly endpoint?: string;
  readonly cause?: unknown;
};

/**
 * Everything the SDK rejects with. Test `code`, never the message.
 *
 * `retryable` says whether the same call may succeed later. `ambiguous` says that the call, or an earlier attempt of
 * it, may have been carried out although it failed: a write must then be read back before it is repeated.
 */
export class MusterError extends Error {
  override readonly name = 'MusterError';
  readonly code: MusterErrorCode;
  /** HTTP status, or `undefined` when there was no answer. */
  readonly status: number | undefined;
  readonly retryable: boolean;
  readonly ambiguous: boolean;
  /** The whole problem document, for members such as `current` or `compactRevision`. */
  readonly problem: ProblemLike | undefined;
  readonly endpoint: string | undefined;

  constructor(code: MusterErrorCode, message: string, options: MusterErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = options.status;
    this.retryable = options.retryable ?? false;
    this.ambiguous = options.ambiguous ?? false;
    this.problem = options.problem;
    this.endpoint = options.endpoint;
  }

  /** From a problem document. A body without a usable `code` gets one from the status. */
  static fromProblem(problem: ProblemLike, status: number, endpoint?: string): MusterError {
    const code = typeof problem.code === 'string' ? problem.code : codeOfStatus(status);
    const row = code in ERRORS ? ERRORS[code as ErrorCode] : undefined;
    const retryable =
      typeof problem.retryable === 'boolean' ? problem.retryable : (row?.retryable ?? status === 503);
    const text = [problem.title, problem.detail].filter((part) => typeof part === 'string' && part !== '');
    const message = text.length > 0 ? text.join(': ') : (row?.text ?? `HTTP status ${status}`);
    return new MusterError(code, message, {
      status,
      retryable,
      problem,
      ...(endpoint !== undefined && { endpoint }),
    });
  }

  /** The same failure, marked as one whose effect is unknown. */
  asAmbiguous(): MusterError {
    if (this.ambiguous) return this;
    return new MusterError(this.code, `${this.message} (an earlier attempt may have been carried out)`, {
      retryable: this.retryable,
      ambiguous: true,
      cause: this.cause,
      ...(this.status !== undefined && { status: this.status }),
      ...(this.problem && { problem: this.problem }),
      ...(this.endpoint !== undefined && { endpoint: this.endpoint }),
    });
  }

  /** Any thrown value as a `MusterError`. */
  static from(thrown: unknown): MusterError {
    if (thrown instanceof MusterError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new MusterError('BAD_RESPONSE', message, { cause: thrown });
  }
}

function codeOfStatus(status: number): MusterErrorCode {
  if (status === 404) return 'NOT_FOUND';
  if (status === 412) return 'PRECONDITION_FAILED';
  if (status === 429) return 'RATE_LIMITED';
  if (status === 504) return 'DEADLINE';
  return status >= 500 ? 'INTERNAL' : 'BAD_REQUEST';
}

export function closedError(what: string): MusterError {
  return new MusterError('CLOSED', `${what} is closed`);
}

export function abortedError(signal: AbortSignal): MusterError {
  return new MusterError('ABORTED', 'the call was aborted', { cause: signal.reason });
}
