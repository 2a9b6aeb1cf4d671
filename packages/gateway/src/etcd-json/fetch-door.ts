/** etcd's JSON on fetch's Request and Response, for hono. The answers are those of the node door. */
import type { RawHeaders } from '../middleware/cors.ts';
import {
  type CountedStream,
  type CountedUnary,
  callOptions,
  type EtcdJson,
  withSource,
} from './etcd-json.ts';
import { resolveEtcd } from './resolve.ts';
import { errorBody, StatusError, streamErrorBody } from './status-error.ts';
import type { StreamCall, StreamOutput } from './stream.ts';

const JSON_HEADERS = { 'Content-Type': 'application/json' };
const GRPC_HEADERS = { ...JSON_HEADERS, 'Grpc-Metadata-Content-Type': 'application/grpc' };
const TEXT_HEADERS = { 'Content-Type': 'text/plain; charset=utf-8', 'X-Content-Type-Options': 'nosniff' };

/** Answers one request whose path `isEtcdPath`. `source` is the client's address. */
export async function fetchEtcd(
  json: EtcdJson,
  request: Request,
  cors: RawHeaders,
  source: string | undefined,
): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const resolved = resolveEtcd(json, request.method, pathname + search);
  let response: Response;
  if (resolved.type === 'plain') {
    const location: HeadersInit = resolved.location === undefined ? {} : { Location: resolved.location };
    response = new Response(resolved.text, {
      status: resolved.status,
      headers: { ...TEXT_HEADERS, ...location },
    });
  } else if (resolved.route.type === 'unary') response = await unary(json, request, resolved.route, source);
  else response = await stream(json, request, resolved.route);
  for (let i = 0; i < cors.length; i += 2) response.headers.set(cors[i] as string, cors[i + 1] as string);
  return response;
}

async function unary(
  json: EtcdJson,
  request: Request,
  route: CountedUnary,
  source: string | undefined,
): Promise<Response> {
  try {
    const body = await readBody(request, json.bodyBytes);
    if (body instanceof StatusError) return jsonResponse(413, errorBody(body));
    const said = callOptions((name) => request.headers.get(name) ?? undefined);
    const options = withSource(route, said, source);
    const reply = await json.unary(
      route,
      body,
      route.blocks ? { ...options, signal: request.signal } : options,
    );
    return jsonResponse(reply.status, reply.body);
  } catch (thrown) {
    const reply = json.failure(thrown);
    return jsonResponse(reply.status, reply.body);
  }
}

function jsonResponse(status: number, body: string): Response {
  return new Response(body, { status, headers: status === 200 ? GRPC_HEADERS : JSON_HEADERS });
}

async function readBody(request: Request, maxBytes: number): Promise<string | StatusError> {
  if (request.body === null) return '';
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.length;
    if (length > maxBytes) {
      return new StatusError(8, `grpc: received message larger than max (${length} vs. ${maxBytes})`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length).toString();
}

function stream(json: EtcdJson, request: Request, route: CountedStream): Promise<Response> {
  return new Promise((respond) => {
    const output = new FetchOutput(respond);
    let call: StreamCall | undefined;
    try {
      const options = callOptions((name) => request.headers.get(name) ?? undefined);
      call = json.stream(route, output, options);
    } catch (thrown) {
      output.refuse(StatusError.from(thrown));
    }
    if (call === undefined) return;
    output.call = call;
    request.signal.addEventListener('abort', () => call.close());
    pump(request, call).catch(() => call.close());
  });
}

async function pump(request: Request, call: StreamCall): Promise<void> {
  for await (const chunk of request.body ?? []) {
    await new Promise<void>((more) => {
      if (call.push(chunk, more)) more();
    });
  }
  call.endInput();
}

class FetchOutput implements StreamOutput {
  readonly #respond: (response: Response) => void;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #closed = false;
  call: StreamCall | undefined;

  constructor(respond: (response: Response) => void) {
    this.#respond = respond;
  }

  line(line: Buffer): boolean {
    this.#controller ??= this.#start(GRPC_HEADERS);
    if (this.#closed) return true;
    this.#controller.enqueue(line);
    return (this.#controller.desiredSize ?? 0) > 0;
  }

  end(error?: StatusError): void {
    if (this.#controller === undefined && error !== undefined) {
      return this.#respond(
        new Response(streamErrorBody(error), { status: error.http, headers: JSON_HEADERS }),
      );
    }
    this.#controller ??= this.#start(JSON_HEADERS);
    if (this.#closed) return;
    if (error !== undefined) this.#controller.enqueue(Buffer.from(streamErrorBody(error)));
    this.#controller.close();
  }

  refuse(error: StatusError): void {
    this.#respond(new Response(errorBody(error), { status: error.http, headers: JSON_HEADERS }));
  }

  #start(headers: Record<string, string>): ReadableStreamDefaultController<Uint8Array> {
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (c) => {
        controller = c;
      },
      pull: () => this.call?.room(),
      cancel: () => {
        this.#closed = true;
        this.call?.close();
      },
    });
    this.#respond(new Response(body, { headers }));
    return controller as ReadableStreamDefaultController<Uint8Array>;
  }
}
