import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { type Http2Server, Http2ServerRequest, Http2ServerResponse } from 'node:http2';

/** Headers of HTTP/1.1's connections, which HTTP/2 knows none of (RFC 9113, section 8.2.2). */
const OF_CONNECTIONS = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

type HeaderList = OutgoingHttpHeaders | readonly (string | string[])[];

/** A response that drops what HTTP/2 has no place for, where Node would warn. */
class Response extends Http2ServerResponse {
  override setHeader(name: string, value: number | string | readonly string[]): void {
    if (!OF_CONNECTIONS.has(name.toLowerCase())) super.setHeader(name, value);
  }

  /** The forms of HTTP/1.1's: a reason, which is dropped too, and headers as an object or name, value, name, value. */
  override writeHead(status: number, ...rest: readonly (HeaderList | string | undefined)[]): this {
    const headers = rest.find((one) => typeof one === 'object') as HeaderList | undefined;
    if (Array.isArray(headers)) {
      for (let i = 0; i < headers.length; i += 2) this.setHeader(String(headers[i]), headers[i + 1]);
    } else {
      for (const [name, value] of Object.entries((headers as OutgoingHttpHeaders | undefined) ?? {})) {
        if (value !== undefined) this.setHeader(name, value);
      }
    }
    return super.writeHead(status) as this;
  }
}

/**
 * Answers HTTP/2 requests with a listener made for HTTP/1.1, through Node's own look-alikes. With `grpcBeside`, those
 * of gRPC are left for another listener of the server. Without a listener, only that one is there.
 */
export function serveHttp2Requests(
  server: Http2Server,
  listener: ((req: IncomingMessage, res: ServerResponse) => void) | undefined,
  grpcBeside: boolean,
): void {
  server.on('stream', (stream, headers, _flags, rawHeaders) => {
    if (grpcBeside && headers['content-type']?.startsWith('application/grpc')) return;
    // A client that goes away takes nobody with it.
    stream.on('error', () => {});
    if (listener === undefined || headers[':method'] === 'CONNECT') {
      stream.respond({ ':status': listener === undefined ? 415 : 405 }, { endStream: true });
      return;
    }
    headers.host ??= headers[':authority'];
    const req = new Http2ServerRequest(stream, headers, {}, rawHeaders as unknown as readonly string[]);
    const res = new Response(stream);
    if (headers.expect === '100-continue') res.writeContinue();
    listener(req as unknown as IncomingMessage, res as unknown as ServerResponse);
  });
}
