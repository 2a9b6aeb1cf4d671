/** One key: `/v1/kv/{key}`, and `/v1/kv?key=` for keys that a path cannot carry. */
import { utf8 } from '@muster/base';
import { KvError, leaseIdFromHex, type PutResource, parseSeconds } from '@muster/contract';
import type { CallOptions, Compare, KeyValue, PutRequest, RequestOp, ResponseHeader } from '@muster/kv';
import { revisionOf, type V1Context } from '../context.ts';
import { formatCursor, parseCursor } from '../cursors.ts';
import { contentTypeOf, type Encoding, entryOf } from '../entries.ts';
import { problemResponse } from '../errors.ts';
import { type EtagList, keyEtag, matchRevisions, parseEtags, parsePrefer } from '../etags.ts';
import { requireKeySize } from '../keys.ts';
import { answerConditional, type Look } from '../long-poll.ts';
import type { V1Request } from '../router.ts';
import { mediaType, parseJson } from '../validate.ts';
import { waitOf } from './waits.ts';

type KeyRequest = V1Request<'getKey'> | V1Request<'listKeys'>;
type PutKeyRequest = V1Request<'putKey'> | V1Request<'putKeyByQuery'>;
type DeleteKeyRequest = V1Request<'deleteKey'> | V1Request<'deleteKeys'>;

/** The key in the path, of a size that the store can take. */
export function pathKey(context: V1Context, request: { keyInPath(): string }): Uint8Array {
  const key = utf8(request.keyInPath());
  requireKeySize(key, context.limits.keyBytes);
  return key;
}

export async function getKey(context: V1Context, request: KeyRequest, key: Uint8Array): Promise<Response> {
  const { query } = request;
  requireKeySize(key, context.limits.keyBytes);
  const asJson = wantsJson(request.header('accept'));
  const look = async (): Promise<Look> => {
    const { header, kvs } = await context.api.range(
      {
        key,
        ...(query.at === undefined ? {} : { revision: query.at }),
        serializable: query.consistency === 'serializable',
      },
      request.call,
    );
    const kv = kvs[0];
    if (!kv) return { header, respond: () => missing(context, request, header) };
    const respond = () => keyResponse(context, header, kv, asJson, query.encoding ?? 'auto');
    return { header, etag: keyEtag(kv.modRevision), respond };
  };
  return answerConditional(context, {
    span: { key },
    look,
    ifNoneMatch: parseEtags(request.header('if-none-match'), 'If-None-Match'),
    ...waitOf(request),
    ...(query.since === undefined ? {} : { since: parseCursor(query.since) }),
    signal: () => request.signal(),
    call: request.call,
  });
}

export async function putKey(context: V1Context, request: PutKeyRequest, key: Uint8Array): Promise<Response> {
  requireKeySize(key, context.limits.keyBytes);
  const { query } = request;
  const value = await request.bytes(context.limits.valueBytes);
  if (mediaType(request.header('content-type')) === 'application/json') parseJson(value);
  const conditions = await compares(context, request, key);
  const lease = await leaseOf(context, query, request.call);
  try {
    const put: PutRequest = { key, value, lease: lease.id, prevKv: true };
    const written = await writeIf(context, key, { type: 'put', put }, conditions, request.call);
    const result = written.response.type === 'put' ? written.response.put : undefined;
    return putResponse(context, request, key, written.header, lease.id, result?.prevKv);
  } catch (error) {
    if (lease.granted)
      await context.api.leaseRevoke({ id: lease.id }, { ...request.call, internal: true }).catch(() => {});
    throw error;
  }
}

export async function deleteKey(
  context: V1Context,
  request: DeleteKeyRequest,
  key: Uint8Array,
): Promise<Response> {
  requireKeySize(key, context.limits.keyBytes);
  const conditions = await compares(context, request, key);
  const op: RequestOp = { type: 'deleteRange', deleteRange: { key, prevKv: request.query.prev === true } };
  const { header, response } = await writeIf(context, key, op, conditions, request.call);
  const result = response.type === 'deleteRange' ? response.deleteRange : { deleted: 0, prevKvs: [] };
  if (result.deleted === 0) throw notFound(revisionOf(header));
  const headers = storeHeaders(context, header);
  if (parsePrefer(request.header('prefer')).minimal) return new Response(null, { status: 204, headers });
  const encoding = request.query.encoding ?? 'auto';
  return json(
    {
      deleted: result.deleted,
      revision: revisionOf(header),
      ...(request.query.prev ? { prev: result.prevKvs.map((kv) => entryOf(kv, encoding)) } : {}),
    },
    200,
    headers,
  );
}

/** The headers of every answer that shows the store. */
export function storeHeaders(
  context: V1Context,
  header: ResponseHeader,
  revision = revisionOf(header),
): Headers {
  const epoch = context.epochOf(header);
  return new Headers({
    'x-store-revision': String(revision),
    'x-store-epoch': epoch,
    'x-store-cursor': formatCursor(epoch, revision),
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    vary: 'Accept',
  });
}

export function json(body: unknown, status: number, headers: Headers): Response {
  headers.set('content-type', 'application/json');
  return new Response(JSON.stringify(body), { status, headers });
}

function keyResponse(
  context: V1Context,
  header: ResponseHeader,
  kv: KeyValue,
  asJson: boolean,
  encoding: Encoding,
): Response {
  const headers = keyHeaders(context, header, kv);
  if (asJson) return json(entryOf(kv, encoding), 200, headers);
  headers.set('content-type', contentTypeOf(kv.value));
  headers.set('content-length', String(kv.value.length));
  return new Response(kv.value as Uint8Array<ArrayBuffer>, { headers });
}

function keyHeaders(
  context: V1Context,
  header: ResponseHeader,
  kv: Omit<KeyValue, 'key' | 'value'>,
): Headers {
  const headers = storeHeaders(context, header);
  headers.set('etag', keyEtag(kv.modRevision));
  headers.set('x-mod-revision', String(kv.modRevision));
  headers.set('x-create-revision', String(kv.createRevision));
  headers.set('x-key-version', String(kv.version));
  if (kv.lease !== 0n) headers.set('x-lease-id', entryOf({ ...kv, key: NONE, value: NONE }).lease as string);
  return headers;
}

const NONE = new Uint8Array(0);

function putResponse(
  context: V1Context,
  request: PutKeyRequest,
  key: Uint8Array,
  header: ResponseHeader,
  lease: bigint,
  prev: KeyValue | undefined,
): Response {
  const revision = revisionOf(header);
  const now = {
    createRevision: prev?.createRevision ?? revision,
    modRevision: revision,
    version: (prev?.version ?? 0) + 1,
    lease,
  };
  const headers = keyHeaders(context, header, now);
  if (parsePrefer(request.header('prefer')).minimal) return new Response(null, { status: 204, headers });
  const { value: _, ...entry } = entryOf({ key, value: NONE, ...now });
  const body: PutResource = {
    ...entry,
    created: prev === undefined,
    revision,
    ...(request.query.prev && prev ? { prev: entryOf(prev, request.query.encoding ?? 'auto') } : {}),
  };
  return json(body, prev ? 200 : 201, headers);
}

/** `Accept` that asks for the entry rather than the bytes. A browser's `text/html, …` gets the bytes. */
function wantsJson(accept: string | undefined): boolean {
  const first = (accept ?? '').split(',', 1)[0]?.split(';', 1)[0]?.trim().toLowerCase();
  return first === 'application/json';
}

type Written = { readonly header: ResponseHeader; readonly response: ResponseOp };
type ResponseOp = Awaited<ReturnType<V1Context['api']['txn']>>['responses'][number];

/** Does `op` when every compare holds, else PRECONDITION_FAILED with the key's present revision. */
async function writeIf(
  context: V1Context,
  key: Uint8Array,
  op: RequestOp,
  compare: readonly Compare[],
  call: CallOptions,
): Promise<Written> {
  if (compare.length === 0) {
    if (op.type === 'put') {
      const { header, ...put } = await context.api.put(op.put, call);
      return { header, response: { type: 'put', put } };
    }
    if (op.type === 'deleteRange') {
      const { header, ...deleteRange } = await context.api.deleteRange(op.deleteRange, call);
      return { header, response: { type: 'deleteRange', deleteRange } };
    }
  }
  const failure: RequestOp[] = [{ type: 'range', range: { key, keysOnly: true } }];
  const result = await context.api.txn({ compare, success: [op], failure }, call);
  const response = result.responses[0] as ResponseOp;
  if (result.succeeded) return { header: result.header, response };
  throw preconditionFailed(response.type === 'range' ? response.range.kvs[0] : undefined, result.header);
}

/** What If-Match and If-None-Match ask of the key, as compares of a txn. */
async function compares(
  context: V1Context,
  request: { header(name: string): string | undefined; readonly call: CallOptions },
  key: Uint8Array,
): Promise<Compare[]> {
  const match = parseEtags(request.header('if-match'), 'If-Match');
  const none = parseEtags(request.header('if-none-match'), 'If-None-Match');
  const out: Compare[] = [];
  const version = (result: 'equal' | 'greater'): Compare => ({
    key,
    target: 'version',
    result,
    operand: { kind: 'version', number: 0 },
  });
  const revision = (result: 'equal' | 'notEqual', number: number): Compare => ({
    key,
    target: 'mod',
    result,
    operand: { kind: 'mod', number },
  });
  if (match === '*') out.push(version('greater'));
  else if (match) out.push(revision('equal', await oneOfRevisions(context, key, match, request.call)));
  if (none === '*') out.push(version('equal'));
  else if (none) for (const number of matchRevisions(none)) out.push(revision('notEqual', number));
  return out;
}

/** A compare names one revision: of several that would do, the key's present one. */
async function oneOfRevisions(
  context: V1Context,
  key: Uint8Array,
  list: Exclude<EtagList, '*'>,
  call: CallOptions,
): Promise<number> {
  const revisions = matchRevisions(list);
  if (revisions.length === 1) return revisions[0] as number;
  const { kvs, header } = await context.api.range({ key, keysOnly: true }, call);
  const kv = kvs[0];
  if (kv && revisions.includes(kv.modRevision)) return kv.modRevision;
  throw preconditionFailed(kv, header);
}

export function preconditionFailed(kv: KeyValue | undefined, header: ResponseHeader): KvError {
  return new KvError('PRECONDITION_FAILED', {
    detail: kv ? `the key is at revision ${kv.modRevision}` : 'the key does not exist',
    extra: {
      current: kv ? { modRevision: kv.modRevision, version: kv.version } : null,
      revision: revisionOf(header),
    },
  });
}

function notFound(revision: number): KvError {
  return new KvError('KEY_NOT_FOUND', { detail: 'there is no such key', extra: { revision } });
}

function missing(context: V1Context, request: KeyRequest, header: ResponseHeader): Response {
  const headers = Object.fromEntries(storeHeaders(context, header));
  const requestId = request.hono.get('requestId') as string | undefined;
  const instance = request.url.path;
  const about = requestId === undefined ? { instance } : { instance, requestId };
  return problemResponse(notFound(revisionOf(header)), about, headers);
}

/** The lease that a put asks for: an existing one, a new one of `ttl`, or none. */
async function leaseOf(
  context: V1Context,
  query: { readonly lease?: string; readonly ttl?: string },
  call: CallOptions,
): Promise<{ readonly id: bigint; readonly granted: boolean }> {
  if (query.lease !== undefined && query.ttl !== undefined) {
    throw new KvError('BAD_REQUEST', { detail: 'query: lease or ttl expected, not both' });
  }
  if (query.lease !== undefined) return { id: leaseIdFromHex(query.lease) as bigint, granted: false };
  if (query.ttl === undefined) return { id: 0n, granted: false };
  const ttlSeconds = parseSeconds(query.ttl) as number;
  if (ttlSeconds === 0) throw new KvError('BAD_REQUEST', { detail: 'query ttl: at least 1s expected' });
  const { id } = await context.api.leaseGrant({ id: 0n, ttlSeconds }, call);
  return { id, granted: true };
}
