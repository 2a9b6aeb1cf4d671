/** All the watch sockets and streams of a gateway. */
import type { IncomingMessage } from 'node:http';
import { deferred } from '@muster/base';
import { CloseCode, checkSelection, type GoawayReason, KvError, type WatchSelection } from '@muster/contract';
import type { WebSocket } from 'ws';
import { Outboxes } from '../outbox/outbox.ts';
import type { ClusterWatch } from '../v1/cluster-state.ts';
import type { V1Context } from '../v1/context.ts';
import { parseCursor } from '../v1/cursors.ts';
import { DEFAULT_NAMESPACE } from '../v1/instances.ts';
import { keyOfQuery, spanOfQuery } from '../v1/keys.ts';
import type { V1Request } from '../v1/router.ts';
import { kvSelection, type Selection, serviceSelection } from './selection.ts';
import { type StreamFormat, type StreamOwner, streamHeaders, WatchStream } from './stream.ts';
import { WsSession } from './ws-session.ts';

type WatchRequest = V1Request<'watch'>;

export class WatchGateway implements StreamOwner {
  readonly #context: V1Context;
  readonly #cluster: ClusterWatch;
  readonly #outboxes: Outboxes;
  readonly #sessions = new Set<WsSession>();
  readonly #streams = new Set<WatchStream>();
  #draining: { readonly done: Promise<void>; readonly resolve: () => void } | undefined;

  constructor(context: V1Context, cluster: ClusterWatch) {
    this.#context = context;
    this.#cluster = cluster;
    this.#outboxes = new Outboxes(context.clock);
  }

  /** Open WebSockets of the watch protocol. */
  get sockets(): number {
    return this.#sessions.size;
  }

  /** Takes over a socket whose upgrade was accepted. */
  accept(ws: WebSocket, request: IncomingMessage): void {
    const { sockets } = this.#context.limits;
    if (this.#draining) {
      ws.close(CloseCode.LATER, 'going away');
      return;
    }
    if (this.#sessions.size >= sockets) {
      ws.close(CloseCode.LIMITS, `${sockets} sockets are open`);
      return;
    }
    const context = this.#context;
    const onClosed = (session: WsSession): void => {
      this.#sessions.delete(session);
      this.#settle();
    };
    const deps = { context, cluster: this.#cluster, outboxes: this.#outboxes, onClosed };
    this.#sessions.add(new WsSession(deps, ws, request));
  }

  /** `GET /v1/watch` without an upgrade. */
  async stream(request: WatchRequest): Promise<Response> {
    if (this.#draining) throw new KvError('STOPPED');
    const { query } = request;
    const format = formatOf(request.header('accept'));
    const selection = streamSelection(request);
    const since = request.header('last-event-id') ?? query.since;
    const from = since === undefined ? undefined : parseCursor(since);
    // Who may not ask is told so before a stream begins.
    const { header } = await this.#context.api.status(request.call);
    const epoch = this.#context.epochOf(header);
    // A stream begins when it is made, and nobody would ever read or cancel this one.
    if (request.hono.req.raw.method === 'HEAD')
      return new Response(null, { headers: streamHeaders(format, epoch) });
    const stream = new WatchStream(this.#context, this.#cluster, this, epoch, {
      format,
      selection,
      ...(from ? { from } : {}),
      snapshot: query.snapshot === true,
      coalesce: query.coalesce === 'key',
      call: request.call,
    });
    return stream.response();
  }

  add(stream: WatchStream): void {
    this.#streams.add(stream);
  }

  remove(stream: WatchStream): void {
    this.#streams.delete(stream);
    this.#settle();
  }

  /**
   * Asks every client to reconnect elsewhere, spread over `withinMs`, and closes what is left then. Resolves when all
   * are closed. Sockets and streams that come meanwhile are refused.
   */
  drain(reason: GoawayReason, withinMs = this.#context.limits.goawayJitterMs): Promise<void> {
    if (this.#draining) return this.#draining.done;
    const { promise: done, resolve } = deferred<void>();
    this.#draining = { done, resolve };
    const { clock, prng } = this.#context;
    for (const session of this.#sessions) session.goaway(reason, withinMs);
    for (const stream of this.#streams) {
      clock.schedule(prng.int(0, withinMs), () => stream.end(new KvError('STOPPED')));
    }
    this.#settle();
    return done;
  }

  #settle(): void {
    if (this.#sessions.size === 0 && this.#streams.size === 0) this.#draining?.resolve();
  }
}

/** SSE only when it is asked for: curl and `fetch` get lines. */
function formatOf(accept: string | undefined): StreamFormat {
  return (accept ?? '').toLowerCase().includes('text/event-stream') ? 'sse' : 'ndjson';
}

function streamSelection(request: WatchRequest): Selection | 'cluster' {
  const { query } = request;
  const span = spanOfQuery(query);
  const key = keyOfQuery(query);
  const kinds = [span ?? key, query.service, query.cluster === true ? true : undefined];
  if (kinds.filter((kind) => kind !== undefined).length !== 1) {
    throw new KvError('BAD_REQUEST', {
      detail: 'query: exactly one of prefix, key, start, service, cluster expected',
      extra: { errors: [{ in: 'query', pointer: '', expected: 'one selection' }] },
    });
  }
  if (query.cluster) return 'cluster';
  if (query.service !== undefined) return checked(serviceQuery(request, query.service));
  const options = pick(query, ['keysOnly', 'prevKv', 'only']);
  const selection = kvSelection(options);
  return { ...selection, span: span ?? { key: key as Uint8Array } };
}

function serviceQuery(request: WatchRequest, name: string): WatchSelection {
  const { query } = request;
  const ns = query.ns ?? request.header('x-namespace') ?? DEFAULT_NAMESPACE;
  return { service: { name, ns, ...pick(query, ['status', 'zone', 'tag', 'version']) } };
}

/** The same checks as a frame's selection gets. */
function checked(value: WatchSelection): Selection {
  const result = checkSelection(value);
  if (!result.ok) {
    throw new KvError('BAD_REQUEST', { detail: `query ${result.pointer}: ${result.expected} expected` });
  }
  if (!('service' in result.frame)) throw new KvError('BAD_REQUEST', { detail: 'query: a service expected' });
  return serviceSelection(result.frame.service);
}

function pick<T extends object, K extends keyof T>(
  from: T,
  names: readonly K[],
): { [P in K]?: NonNullable<T[P]> } {
  const out: { [P in K]?: NonNullable<T[P]> } = {};
  for (const name of names) {
    const value = from[name];
    if (value !== undefined && value !== null) out[name] = value;
  }
  return out;
}
