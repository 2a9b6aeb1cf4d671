/** The only place where a KvError becomes an HTTP answer under `/v1` (RFC 9457). */
import { KvError, type Problem } from '@muster/contract';

/** Seconds a client should wait before it sends a retryable request again. */
const RETRY_AFTER_SECONDS = '1';

/** A problem document. `instance` is the path of the request, where there is one. */
export function problemOf(
  thrown: unknown,
  about: { readonly instance?: string; readonly requestId?: string } = {},
): Problem {
  const error = KvError.from(thrown);
  const words = error.code.toLowerCase().replaceAll('_', ' ');
  return {
    type: `urn:muster:problem:${error.code.toLowerCase().replaceAll('_', '-')}`,
    title: words.charAt(0).toUpperCase() + words.slice(1),
    status: error.row.http,
    detail: error.detail ?? error.message,
    ...(about.instance === undefined ? {} : { instance: about.instance }),
    code: error.code,
    grpcCode: error.row.grpc,
    retryable: error.row.retryable,
    ...error.extra,
    ...(about.requestId === undefined ? {} : { requestId: about.requestId }),
  };
}

/** `headers` go on top of what a problem always has. */
export function problemResponse(
  thrown: unknown,
  about: { readonly instance?: string; readonly requestId?: string },
  headers: Readonly<Record<string, string>> = {},
): Response {
  const problem = problemOf(thrown, about);
  const retry = problem.status === 429 || problem.status === 503;
  return new Response(JSON.stringify(problem), {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(retry ? { 'retry-after': RETRY_AFTER_SECONDS } : {}),
      ...(problem.status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
      ...headers,
    },
  });
}
