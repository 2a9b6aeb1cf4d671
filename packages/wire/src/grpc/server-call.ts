import type { ServerHttp2Stream } from 'node:http2';
import type { Clock, Timer } from '@muster/base';
import { GrpcCode, KvError } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import type { BudgetShare, ByteBudget } from './byte-budget.ts';
import type { Connection } from './connection.ts';
import type { GrpcLimits } from './grpc-limits.ts';
import { GrpcStatus, statusOf } from './grpc-status.ts';
import type { GrpcObserver } from './observer.ts';
import type { Route } from './route.ts';

/** What every call needs of its server. */
export type CallHost = {
  readonly clock: Clock;
  readonly limits: GrpcLimits;
  /** Of messages of which a part has come. */
  readonly receiving: ByteBudget;
  /** Of answers that have not gone out. */
  readonly sending: ByteBudget;
  readonly observer: GrpcObserver | undefined;
  /** Every call whose stream is open. */
  readonly calls: Set<ServerCall>;
  /** Of errors that are none of the table's: a bug, or the store's failure. */
  readonly onInternalError: (error: unknown, path: string) => void;
};

export type CallStart = {
  readonly stream: ServerHttp2Stream;
  readonly connection: Connection;
  readonly options: CallOptions;
  /** As the client's metadata has it. */
  readonly clientVersion: string | undefined;
};

const DEADLINE = new GrpcStatus(GrpcCode.DEADLINE_EXCEEDED, 'context deadline exceeded');

/**
 * What calls of either kind have in common: they end once, by an answer, by their deadline, or because the client is
 * gone; and they are counted.
 */
export abstract class ServerCall {
  protected readonly stream: ServerHttp2Stream;
  protected readonly host: CallHost;
  protected readonly connection: Connection;
  protected readonly options: CallOptions;
  readonly #route: Route;
  readonly #startedMs: number;
  readonly #abort: AbortController | undefined;
  /** Of the host's budget for answers. */
  protected readonly unsent: BudgetShare;
  #deadline: Timer | undefined;
  #over = false;

  constructor(host: CallHost, route: Route, { stream, connection, options, clientVersion }: CallStart) {
    this.host = host;
    this.#route = route;
    this.unsent = host.sending.share();
    this.stream = stream;
    this.connection = connection;
    this.#startedMs = host.clock.nowMs();
    const abortable = route.type === 'stream' || route.abortable;
    this.#abort = abortable ? new AbortController() : undefined;
    this.options = this.#abort === undefined ? options : { ...options, signal: this.#abort.signal };
    connection.callOpened();
    host.observer?.grpcStarted(route.method, clientVersion);
    if (options.timeoutMs !== undefined) {
      this.#deadline = host.clock.schedule(options.timeoutMs, () => this.#expire());
    }
    stream.on('error', ignore);
    host.calls.add(this);
    // A stream that is reset is closed only after what came before has been read, for which the call may never be ready.
    stream.on('aborted', () => this.#gone());
    stream.on('close', () => this.#gone());
  }

  get over(): boolean {
    return this.#over;
  }

  /** The server stops: streams end, calls with one answer may finish. */
  abstract stop(): void;

  /** Sends the end of a call that failed. */
  protected abstract sendError(status: GrpcStatus): void;
  /** Everything held is released; nothing is sent any more. */
  protected abstract release(): void;

  fail(thrown: unknown): void {
    if (this.#over) return;
    const status = statusOf(thrown);
    if (status.code === GrpcCode.INTERNAL && !(thrown instanceof GrpcStatus)) {
      this.host.onInternalError(thrown, this.#route.method.path);
    }
    this.conclude(status.code);
    this.sendError(status);
    this.connection.sent();
  }

  /** Notes that the call is over; what is sent for its end is sent right after. */
  protected conclude(code: number): void {
    if (this.#over) return;
    this.#over = true;
    if (this.#deadline !== undefined) this.host.clock.cancel(this.#deadline);
    this.connection.callClosed();
    const seconds = (this.host.clock.nowMs() - this.#startedMs) / 1000;
    this.host.observer?.grpcHandled(this.#route.method, code, seconds);
    this.release();
  }

  #expire(): void {
    this.#deadline = undefined;
    if (this.#over) return;
    this.fail(DEADLINE);
    this.#abort?.abort(new KvError('DEADLINE'));
  }

  #gone(): void {
    this.host.calls.delete(this);
    this.unsent.hold(0);
    if (this.#over) return;
    this.conclude(GrpcCode.CANCELLED);
    this.#abort?.abort(new KvError('CANCELED'));
  }
}

const ignore = (): void => {};
