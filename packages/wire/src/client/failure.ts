import type { ServiceError } from '@grpc/grpc-js';
import { ERRORS, type ErrorCode, GrpcCode, KvError } from '@muster/contract';

/** How a call ended that did not answer: the server's status, or what befell the connection. */
export class CallFailure extends Error {
  override readonly name = 'CallFailure';
  /** gRPC's number. */
  readonly code: number;
  /** True when the request cannot have reached a server's handler. */
  readonly notSent: boolean;
  /** True when it is the connection that failed, not a server that answered. */
  readonly broken: boolean;

  constructor(code: number, text: string, notSent = false, broken = notSent) {
    super(text);
    this.code = code;
    this.notSent = notSent;
    this.broken = broken;
  }

  get unavailable(): boolean {
    return this.code === GrpcCode.UNAVAILABLE;
  }

  /** What a caller gets to see. */
  toKvError(): KvError {
    return kvErrorOf(this.code, this.message, this);
  }
}

/** Texts of grpc-js for calls that were never put on a connection, or that the server refused unseen. */
const NOT_SENT =
  /^(No connection established|Name resolution failed|Stream refused by server|Channel closed before)/;
/** Texts of grpc-js for a connection that ended under a call. */
const BROKEN =
  /^(Connection dropped|Received RST_STREAM|read E|write E|Call ended without|GOAWAY|No message received)/;

/** The failure of a call on grpc-js. */
export function failureOf(error: ServiceError): CallFailure {
  const text = error.details ?? error.message;
  const notSent = error.code === GrpcCode.UNAVAILABLE && NOT_SENT.test(text);
  const broken = notSent || BROKEN.test(text);
  // A connection that ended between two frames is reported as internal or unknown by grpc-js.
  const code = broken && error.code !== GrpcCode.CANCELLED ? GrpcCode.UNAVAILABLE : error.code;
  return new CallFailure(code, text, notSent, broken);
}

/** Rows for texts that are not in the table, by gRPC code: what stands in for them is only the kind. */
const BY_CODE: readonly ErrorCode[] = [
  'INTERNAL',
  'CANCELED',
  'INTERNAL',
  'BAD_REQUEST',
  'DEADLINE',
  'NOT_FOUND',
  'CONFLICT',
  'PERMISSION_DENIED',
  'TOO_MANY_REQUESTS',
  'PRECONDITION_FAILED',
  'CONFLICT',
  'FUTURE_REVISION',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'CORRUPT',
  'INVALID_AUTH_TOKEN',
];

/** The table's row with this text; else an error that keeps code and text as they came. */
export function kvErrorOf(code: number, text: string, cause?: unknown): KvError {
  const known = KvError.fromText(text);
  if (known && ERRORS[known.code].grpc === code) return known;
  // grpc-js has words of its own for what etcd says as Go does.
  if (code === GrpcCode.DEADLINE_EXCEEDED) return new KvError('DEADLINE', { detail: text });
  const row = known?.code ?? BY_CODE[code] ?? 'INTERNAL';
  return new KvError(row, { remote: { code, text }, ...(cause === undefined ? {} : { cause }) });
}
