import { RESPONSE_BYTES_MAX } from '../core/limits.ts';
import {
  type HttpRequest,
  type HttpResponse,
  type Socket,
  type SocketHandlers,
  type Transport,
  TransportError,
} from '../core/transport.ts';

/** HTTP over `fetch` and sockets over `WebSocket`. A browser does not tell why a connection failed. */
export function createBrowserTransport(): Transport {
  return { request: send, openSocket, close: async () => {} };
}

async function send(what: HttpRequest): Promise<HttpResponse> {
  try {
    const response = await fetch(what.url, {
      method: what.method,
      headers: what.headers,
      body: (what.body ?? null) as BodyInit | null,
      signal: what.signal,
      cache: 'no-store',
    });
    const body = new Uint8Array(await response.arrayBuffer());
    if (body.length > RESPONSE_BYTES_MAX) throw new Error(`answer of ${body.length} bytes`);
    return { status: response.status, body, header: (name) => response.headers.get(name) ?? undefined };
  } catch (error) {
    throw new TransportError(error instanceof Error ? error.message : String(error), true, error);
  }
}

/** Headers cannot be set on a browser's socket: what must reach the server travels in frames. */
function openSocket(
  url: string,
  protocols: readonly string[],
  _headers: Readonly<Record<string, string>>,
  handlers: SocketHandlers,
): Socket {
  const socket = new WebSocket(url, [...protocols]);
  let over = false;
  socket.addEventListener('open', () => over || handlers.onOpen());
  socket.addEventListener('message', ({ data }) => {
    if (!over && typeof data === 'string') handlers.onMessage(data);
  });
  socket.addEventListener('close', ({ code, reason }) => {
    if (over) return;
    over = true;
    handlers.onClose(code, reason);
  });
  return {
    send(text) {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    close(code, reason) {
      over = true;
      // Browsers allow only 1000 and the application's own range here.
      const allowed = code === undefined || code === 1000 || (code >= 3000 && code <= 4999);
      socket.close(allowed ? code : 1000, reason);
    },
  };
}
