/** Binds operations of the OpenAPI document to handlers: path, method and checks all come from the document. */
import { KvError, type OpenApiOperations, parseDurationMs } from '@muster/contract';
import type { CallOptions } from '@muster/kv';
import type { Context, Hono } from 'hono';
import { readBody } from './body.ts';
import type { V1Context } from './context.ts';
import { bearerToken } from './credentials.ts';
import type { OpenApiDocument } from './document.ts';
import { problemResponse } from './errors.ts';
import { percentDecode, splitUrl } from './query-string.ts';
import type { OperationValidator } from './validate.ts';

type OperationId = keyof OpenApiOperations;

type QueryOf<Op extends OperationId> = OpenApiOperations[Op] extends { parameters: { query?: infer Q } }
  ? NonNullable<Q>
  : Record<never, never>;
type BodyOf<Op extends OperationId> = OpenApiOperations[Op] extends {
  requestBody?: { content: { 'application/json': infer B } };
}
  ? B
  : never;

/** A request that has passed the document's checks. */
export class V1Request<Op extends OperationId> {
  readonly hono: Context;
  readonly query: QueryOf<Op>;
  /** Path and query as they came, not decoded. */
  readonly url: { readonly path: string; readonly query: string };
  readonly call: CallOptions;
  readonly #context: V1Context;
  readonly #validator: OperationValidator;

  constructor(hono: Context, context: V1Context, validator: OperationValidator) {
    this.hono = hono;
    this.#context = context;
    this.#validator = validator;
    this.url = splitUrl(hono.req.raw.url);
    this.query = validator.query(this.url.query) as QueryOf<Op>;
    validator.headers((name) => hono.req.header(name));
    validator.path((name) => (name === 'key' ? undefined : hono.req.param(name)));
    const timeout = hono.req.header('x-timeout');
    this.call = context.callOptions(
      timeout === undefined ? undefined : parseDurationMs(timeout),
      bearerToken(hono.req.header('authorization')),
    );
  }

  header(name: string): string | undefined {
    return this.hono.req.header(name);
  }

  /** A path parameter that the document's pattern has let through. */
  path(name: string): string {
    return this.hono.req.param(name) as string;
  }

  /** What follows `/v1/kv/`, decoded. */
  keyInPath(): string {
    return percentDecode(this.url.path.slice('/v1/kv/'.length), 'path key');
  }

  bytes(limit = this.#context.limits.bodyBytes): Promise<Uint8Array> {
    return readBody(this.hono.req.raw, limit);
  }

  async json(): Promise<BodyOf<Op>> {
    return this.#validator.jsonBody(await this.bytes(), this.header('content-type')) as BodyOf<Op>;
  }

  /** The JSON body of an operation that can do without one. */
  async optionalJson(): Promise<BodyOf<Op> | undefined> {
    return this.json();
  }

  signal(): AbortSignal | undefined {
    return this.hono.req.raw.signal;
  }
}

type Handler<Op extends OperationId> = (request: V1Request<Op>) => Response | Promise<Response>;

export class V1Router {
  readonly #app: Hono;
  readonly #context: V1Context;
  readonly #document: OpenApiDocument;
  readonly #validators: ReadonlyMap<string, OperationValidator>;
  readonly #paths = new Set<string>();

  constructor(
    app: Hono,
    context: V1Context,
    document: OpenApiDocument,
    validators: ReadonlyMap<string, OperationValidator>,
  ) {
    this.#app = app;
    this.#context = context;
    this.#document = document;
    this.#validators = validators;
  }

  on<Op extends OperationId>(operationId: Op, handler: Handler<Op>): this {
    const validator = this.#validators.get(operationId) as OperationValidator;
    const { method, path } = validator.operation;
    this.#paths.add(path);
    this.#app.on(method.toUpperCase(), honoPath(path), async (c) => {
      try {
        return await handler(new V1Request<Op>(c, this.#context, validator));
      } catch (error) {
        return this.#failed(c, error);
      }
    });
    return this;
  }

  /** Answers what no operation does: 405 with `Allow` on the document's paths, else 404. Call it last. */
  closeWith(prefix: string): void {
    for (const path of this.#paths) {
      const allow = this.#document.methodsOf(path);
      this.#app.all(honoPath(path), (c) =>
        problemResponse(
          new KvError('METHOD_NOT_ALLOWED', {
            detail: `${c.req.method} is not for ${path}: ${allow.join(', ')} are`,
          }),
          about(c),
          { allow: [...allow, ...(allow.includes('GET') ? ['HEAD'] : [])].join(', ') },
        ),
      );
    }
    this.#app.all(`${prefix}/*`, (c) =>
      problemResponse(
        new KvError('NOT_FOUND', {
          detail: `there is nothing at ${splitUrl(c.req.raw.url).path}; see /openapi.json`,
        }),
        about(c),
      ),
    );
  }

  #failed(c: Context, thrown: unknown): Response {
    const error = KvError.from(thrown);
    if (error.code === 'INTERNAL') {
      this.#context.log.warn(
        { err: error.cause ?? error, path: c.req.path, method: c.req.method },
        'request failed',
      );
    }
    const current = error.extra?.current as { modRevision?: number } | null | undefined;
    const etag = current?.modRevision === undefined ? {} : { etag: `"${current.modRevision}"` };
    return problemResponse(error, about(c), etag);
  }
}

/** `/v1/leases/{id}` as hono writes it. The key of a path may hold slashes, so it is the rest of the path. */
export function honoPath(path: string): string {
  return path.replace('{key}', '*').replaceAll(/\{([a-z]+)\}/gi, ':$1');
}

function about(c: Context): { instance: string; requestId?: string } {
  const requestId = c.get('requestId') as string | undefined;
  const instance = splitUrl(c.req.raw.url).path;
  return requestId === undefined ? { instance } : { instance, requestId };
}
