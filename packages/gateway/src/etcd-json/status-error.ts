import { GrpcCode, httpStatusOfGrpc, KvError } from '@muster/contract';

/** A gRPC status as etcd's gateway shows it: a code and a text. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly grpc: number;

  constructor(grpc: number, text: string) {
    super(text);
    this.grpc = grpc;
  }

  /** The HTTP status of grpc-gateway's first version. */
  get http(): number {
    return httpStatusOfGrpc(this.grpc);
  }

  /** Any thrown value as the status a client sees. */
  static from(thrown: unknown): StatusError {
    if (thrown instanceof StatusError) return thrown;
    const error = KvError.from(thrown);
    const text = error.code === 'BAD_REQUEST' && error.detail !== undefined ? error.detail : error.message;
    return new StatusError(error.row.grpc, text);
  }
}

/** A request that cannot be read: code 3, with Go's words. */
export function invalidArgument(text: string): StatusError {
  return new StatusError(GrpcCode.INVALID_ARGUMENT, text);
}

/** What a call hears that the server's stop cuts short. */
export function transportClosing(): StatusError {
  return new StatusError(GrpcCode.UNAVAILABLE, 'transport is closing');
}

/**
 * A JSON string as Go writes one: `<`, `>`, `&` and the two line separators are escaped too.
 */
export function goString(text: string): string {
  const json = JSON.stringify(text);
  return NEEDS_ESCAPE.test(json) ? json.replace(EVERY_ESCAPE, escapeCharacter) : json;
}
const NEEDS_ESCAPE = /[<>&\u2028\u2029]/;
const EVERY_ESCAPE = /[<>&\u2028\u2029]/g;
const escapeCharacter = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** The error body of a unary call. All three keys: `error` is read by clients of 3.5, the others by those of 3.6. */
export function errorBody(error: StatusError): string {
  const text = goString(error.message);
  return `{"error":${text},"message":${text},"code":${error.grpc}}`;
}

/** The last line of a stream that failed: the keys of 3.5 and, with `code`, those of 3.6. No newline follows. */
export function streamErrorBody(error: StatusError): string {
  const { grpc, http, message } = error;
  const status = HTTP_STATUS_TEXT[http] ?? '';
  return `{"error":{"grpc_code":${grpc},"http_code":${http},"message":${goString(message)},"http_status":"${status}","code":${grpc}}}`;
}

const HTTP_STATUS_TEXT: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  408: 'Request Timeout',
  409: 'Conflict',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};
