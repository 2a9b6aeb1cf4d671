import { backoffDelayMs, type Clock, type Prng, utf8Text } from '@muster/base';
import { type Duration, durationMs } from './duration.ts';
import type { Endpoints } from './endpoints.ts';
import { abortedError, closedError, MusterError, type ProblemLike } from './errors.ts';
import { ATTEMPT_TIMEOUT_MS, CALL_BACKOFF, CALL_TIMEOUT_MS, SERVER_TIMEOUT_MAX_MS } from './limits.ts';
import type { Login } from './login.ts';
import { afterFailure, mayHaveActed, type Repeat, retryAfterMs } from './retry.ts';
import { type HttpRequest, type HttpResponse, type Transport, TransportError } from './transport.ts';

/** What bounds one call. */
export type CallOptions = {
  /** For the whole call, every attempt and pause included. Default 10 s. */
  readonly timeout?: Duration;
  readonly signal?: AbortSignal;
  /**
   * "Carrying this out twice does no harm": lets an unconditional write be repeated although the server may have
   * seen it. Default false.
   */
  readonly idempotent?: boolean;
};

type CallSpec = {
  readonly method: HttpRequest['method'];
  /** Path and query below the endpoint, from `/v1` on. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly repeat: Repeat;
  /** Statuses that are an answer to the caller besides 2xx. */
  readonly accept?: readonly number[];
};

export type CallResult = HttpResponse & {
  readonly endpoint: string;
  /** An earlier attempt of this call may have taken effect before the one that answered. */
  readonly repeated: boolean;
};

type CallerOptions = {
  readonly endpoints: Endpoints;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly headers: Readonly<Record<string, string>>;
  /** Absent: calls carry no token. */
  readonly login?: Login | undefined;
};

type Attempt =
  | { readonly ok: true; readonly response: HttpResponse }
  | {
      readonly ok: false;
      readonly error: MusterError;
      readonly maybeSent: boolean;
      readonly pauseMs: number;
    };

/**
 * One-off calls over HTTP: one deadline for the whole call, repeats on other endpoints where `retry.ts` allows it.
 */
export class Caller {
  readonly #options: CallerOptions;
  /** One controller per attempt or pause under way, so that closing ends them all. */
  readonly #active = new Set<AbortController>();
  #closed = false;

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  async call(spec: CallSpec, options: CallOptions = {}): Promise<CallResult> {
    const { clock, prng, endpoints } = this.#options;
    const deadline = clock.nowMs() + durationMs(options.timeout ?? CALL_TIMEOUT_MS, 'timeout');
    const repeat = spec.repeat === 'once' && options.idempotent === true ? 'safe' : spec.repeat;
    const tried = new Set<string>();
    let ambiguous = false;
    let renewed = false;
    for (let attempt = 0; ; attempt++) {
      this.#throwIfEnded(options.signal);
      const endpoint = endpoints.pick(tried);
      tried.add(endpoint);
      const token = this.#options.login && (await this.#token(this.#options.login, options.signal));
      const attempted = withToken(spec, token);
      const outcome = await this.#attempt(attempted, endpoint, repeat, deadline, options.signal);
      if (outcome.ok) return answer(outcome.response, endpoint, ambiguous);
      const { error } = outcome;
      // A refused token means that nothing was done: once more with another one.
      if (error.status === 401 && !renewed && this.#options.login?.refused(token)) {
        renewed = true;
        tried.delete(endpoint);
        continue;
      }
      const failure = { maybeSent: outcome.maybeSent, retryable: error.retryable, code: error.code };
      const verdict = afterFailure(repeat, failure, ambiguous);
      ambiguous ||= mayHaveActed(failure);
      const delay = Math.max(outcome.pauseMs, this.#pause(tried, attempt, prng));
      const late = clock.nowMs() + delay >= deadline;
      if (verdict !== 'again' || late) {
        throw verdict === 'fail-ambiguous' || (late && ambiguous && repeat !== 'safe')
          ? error.asAmbiguous()
          : error;
      }
      if (tried.size >= endpoints.urls.length) tried.clear();
      if (delay > 0) await this.#sleep(delay, options.signal);
    }
  }

  /** Ends every call under way with `CLOSED`. */
  close(): void {
    this.#closed = true;
    for (const controller of this.#active) controller.abort();
  }

  /** Another endpoint is asked at once; only a full round of failures is worth a pause. */
  #pause(tried: ReadonlySet<string>, attempt: number, prng: Prng): number {
    if (tried.size < this.#options.endpoints.urls.length) return 0;
    return backoffDelayMs(CALL_BACKOFF, Math.floor(attempt / this.#options.endpoints.urls.length), prng);
  }

  async #attempt(
    spec: CallSpec,
    endpoint: string,
    repeat: Repeat,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<Attempt> {
    const { clock, transport, endpoints } = this.#options;
    const left = Math.max(1, deadline - clock.nowMs());
    const budget =
      repeat === 'once' || endpoints.urls.length === 1 ? left : Math.min(left, ATTEMPT_TIMEOUT_MS);
    const controller = new AbortController();
    const abort = () => controller.abort();
    let timedOut = false;
    const timer = clock.schedule(budget, () => {
      timedOut = true;
      abort();
    });
    this.#active.add(controller);
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const response = await transport.request({
        method: spec.method,
        url: endpoint + spec.path,
        headers: {
          ...this.#options.headers,
          ...spec.headers,
          'x-timeout': `${Math.min(SERVER_TIMEOUT_MAX_MS, Math.ceil(budget))}ms`,
        },
        ...(spec.body !== undefined && { body: spec.body }),
        signal: controller.signal,
      });
      return this.#judge(spec, endpoint, response);
    } catch (thrown) {
      this.#throwIfEnded(signal);
      endpoints.failed(endpoint);
      return failedAttempt(thrown, endpoint, timedOut ? budget : undefined);
    } finally {
      clock.cancel(timer);
      this.#active.delete(controller);
      signal?.removeEventListener('abort', abort);
    }
  }

  #judge(spec: CallSpec, endpoint: string, response: HttpResponse): Attempt {
    const { endpoints } = this.#options;
    const fine = response.status >= 200 && response.status < 300;
    if (fine || spec.accept?.includes(response.status)) {
      endpoints.succeeded(endpoint);
      return { ok: true, response };
    }
    if (response.status >= 500) endpoints.failed(endpoint);
    else endpoints.succeeded(endpoint);
    const error = MusterError.fromProblem(problemOf(response), response.status, endpoint);
    return {
      ok: false,
      error,
      maybeSent: true,
      pauseMs: error.retryable ? retryAfterOf(error, response) : 0,
    };
  }

  /** The login goes on for others when this call is given up. */
  async #token(login: Login, signal: AbortSignal | undefined): Promise<string | undefined> {
    const token = await login.token();
    this.#throwIfEnded(signal);
    return token;
  }

  #throwIfEnded(signal: AbortSignal | undefined): void {
    if (signal?.aborted) throw abortedError(signal);
    if (this.#closed) throw closedError('the client');
  }

  #sleep(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.#options;
    const controller = new AbortController();
    this.#active.add(controller);
    return new Promise((resolve) => {
      const done = () => {
        clock.cancel(timer);
        this.#active.delete(controller);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = clock.schedule(delayMs, done);
      controller.signal.addEventListener('abort', done, { once: true });
      signal?.addEventListener('abort', done, { once: true });
    });
  }
}

function withToken(spec: CallSpec, token: string | undefined): CallSpec {
  if (token === undefined) return spec;
  return { ...spec, headers: { ...spec.headers, authorization: `Bearer ${token}` } };
}

/** The body as JSON of the promised shape. The contract's tests check the shape, not every answer anew. */
export function jsonOf<T>(response: HttpResponse): T {
  try {
    return JSON.parse(utf8Text(response.body)) as T;
  } catch (cause) {
    throw new MusterError('BAD_RESPONSE', 'expected a JSON body', { status: response.status, cause });
  }
}

function answer(response: HttpResponse, endpoint: string, repeated: boolean): CallResult {
  return {
    status: response.status,
    header: (name) => response.header(name),
    body: response.body,
    endpoint,
    repeated,
  };
}

/** Being told to slow down by a whole member is honoured; 503 during an election is retried at our own pace. */
function retryAfterOf(error: MusterError, response: HttpResponse): number {
  return error.status === 429 ? retryAfterMs(response) : 0;
}

function problemOf(response: HttpResponse): ProblemLike {
  try {
    const parsed: unknown = JSON.parse(utf8Text(response.body));
    return typeof parsed === 'object' && parsed !== null ? (parsed as ProblemLike) : {};
  } catch {
    return {};
  }
}

function failedAttempt(thrown: unknown, endpoint: string, timedOutMs: number | undefined): Attempt {
  if (timedOutMs !== undefined) {
    const error = new MusterError(
      'DEADLINE',
      `no answer from ${endpoint} within ${Math.round(timedOutMs)} ms`,
      {
        retryable: true,
        endpoint,
      },
    );
    return { ok: false, error, maybeSent: true, pauseMs: 0 };
  }
  const sent = thrown instanceof TransportError ? thrown.sent : true;
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  const text = sent ? `the connection to ${endpoint} broke` : `cannot connect to ${endpoint}`;
  const error = new MusterError(sent ? 'CONNECTION_LOST' : 'CONNECT_FAILED', `${text}: ${reason}`, {
    retryable: true,
    endpoint,
    cause: thrown,
  });
  return { ok: false, error, maybeSent: sent, pauseMs: 0 };
}
