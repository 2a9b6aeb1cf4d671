import { Agent, request, WebSocket } from 'undici';
import { RESPONSE_BYTES_MAX, SOCKET_OPEN_TIMEOUT_MS } from '../core/limits.ts';
import {
  type HttpRequest,
  type HttpResponse,
  type Socket,
  type SocketHandlers,
  type Transport,
  TransportError,
} from '../core/transport.ts';

/** Failures after which the server cannot have seen the request. */
const NOT_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Connections kept to each member for plain calls. */
const CONNECTIONS_PER_ENDPOINT = 16;

/** HTTP and WebSocket over undici, with an agent of its own: what the application does to its own agents is its own. */
export function createUndiciTransport(): Transport {
  const agent = new Agent({
    connections: CONNECTIONS_PER_ENDPOINT,
    connectTimeout: SOCKET_OPEN_TIMEOUT_MS,
    maxResponseSize: RESPONSE_BYTES_MAX,
    // Deadlines are the caller's.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
  return {
    request: (what) => send(agent, what),
    openSocket: (url, protocols, headers, handlers) => openSocket(agent, url, protocols, headers, handlers),
    close: () => agent.destroy(),
  };
}

async function send(agent: Agent, what: HttpRequest): Promise<HttpResponse> {
  try {
    const response = await request(what.url, {
      dispatcher: agent,
      method: what.method,
      headers: what.headers,
      body: what.body ?? null,
      signal: what.signal,
    });
    const body = await response.body.bytes();
    const { statusCode: status, headers } = response;
    return {
      status,
      body,
      header(name) {
        const value = headers[name];
        return Array.isArray(value) ? value.join(', ') : value;
      },
    };
  } catch (error) {
    throw new TransportError(describe(error), !notSent(error), error);
  }
}

function openSocket(
  agent: Agent,
  url: string,
  protocols: readonly string[],
  headers: Readonly<Record<string, string>>,
  handlers: SocketHandlers,
): Socket {
  const socket = new WebSocket(url, { protocols: [...protocols], dispatcher: agent, headers });
  let over = false;
  let failure = '';
  socket.addEventListener('open', () => over || handlers.onOpen());
  socket.addEventListener('message', ({ data }) => {
    if (!over && typeof data === 'string') handlers.onMessage(data);
  });
  socket.addEventListener('error', (event) => {
    failure = describe(event.error ?? event.message);
  });
  socket.addEventListener('close', ({ code, reason }) => {
    if (over) return;
    over = true;
    handlers.onClose(code, reason || failure);
  });
  return {
    send: (text) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    close(code, reason) {
      over = true;
      socket.close(code, reason);
    },
  };
}

function notSent(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (typeof code === 'string') return NOT_SENT.has(code);
  const inner = error instanceof AggregateError ? error.errors : [];
  return inner.length > 0 && inner.every(notSent);
}

function describe(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(describe).join('; ');
  if (error instanceof Error)
    return error.cause ? `${error.message} (${describe(error.cause)})` : error.message;
  return String(error ?? '');
}
