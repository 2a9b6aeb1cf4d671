/** Selections of keys: `/v1/kv?prefix=`. */
import { binaryString, fromBinaryString, prefixEnd, utf8, utf8Text } from '@muster/base';
import { type EntryResource, type KeyPage, KvError } from '@muster/contract';
import type { KeyValue, ResponseHeader, SortOrder, SortTarget } from '@muster/kv';
import { revisionOf, type V1Context } from '../context.ts';
import { type Cursor, formatCursor, parseCursor, requireEpoch } from '../cursors.ts';
import { entryOf } from '../entries.ts';
import { parseEtags, parsePrefer, SelectionEtag } from '../etags.ts';
import { ALL_KEYS, type KeySpan, keyOfQuery, prefixOfQuery, spanOfQuery } from '../keys.ts';
import { answerConditional, type Look } from '../long-poll.ts';
import type { V1Request } from '../router.ts';
import { keyAfter, scan } from '../scan.ts';
import { deleteKey, getKey, json, storeHeaders } from './kv.ts';
import { waitOf } from './waits.ts';

type ListRequest = V1Request<'listKeys'>;

export async function listKeys(context: V1Context, request: ListRequest): Promise<Response> {
  const { query } = request;
  const span = spanOfQuery(query) ?? ALL_KEYS;
  const key = keyOfQuery(query);
  if (key) return getKey(context, request, key);
  checkCombination(query);
  const cursor = query.cursor === undefined ? undefined : parseCursor(query.cursor);
  if (cursor) await requireEpoch(context, cursor);
  return answerConditional(context, {
    span,
    look: () => look(context, request, span, cursor),
    ifNoneMatch: parseEtags(request.header('if-none-match'), 'If-None-Match'),
    ...waitOf(request),
    ...(query.since === undefined ? {} : { since: parseCursor(query.since) }),
    signal: () => request.signal(),
    call: request.call,
  });
}

export async function deleteKeys(context: V1Context, request: V1Request<'deleteKeys'>): Promise<Response> {
  const { query } = request;
  const span = spanOfQuery(query);
  const key = keyOfQuery(query);
  if (key) return deleteKey(context, request, key);
  const everything =
    span === undefined || (span.key[0] === 0 && span.key.length === 1 && span.rangeEnd[0] === 0);
  if (everything && query.all !== true) {
    throw new KvError('BAD_REQUEST', {
      detail: 'this would delete every key: give a prefix, or all=true when that is meant',
      extra: {
        errors: [{ in: 'query', pointer: '/prefix', expected: 'a prefix that is not empty, or all=true' }],
      },
    });
  }
  if (request.header('if-match') !== undefined) {
    throw new KvError('BAD_REQUEST', { detail: 'If-Match is for one key, not for a selection' });
  }
  const target = span ?? ALL_KEYS;
  if (query.dryRun) {
    const { header, count } = await context.api.range({ ...target, countOnly: true }, request.call);
    return json(
      { deleted: count, revision: revisionOf(header), dryRun: true },
      200,
      storeHeaders(context, header),
    );
  }
  const result = await context.api.deleteRange({ ...target, prevKv: query.prev === true }, request.call);
  const headers = storeHeaders(context, result.header);
  if (parsePrefer(request.header('prefer')).minimal) return new Response(null, { status: 204, headers });
  const prev = query.prev ? { prev: result.prevKvs.map((kv) => entryOf(kv, query.encoding ?? 'auto')) } : {};
  return json({ deleted: result.deleted, revision: revisionOf(result.header), ...prev }, 200, headers);
}

function checkCombination(query: ListRequest['query']): void {
  const sorted = query.sort !== undefined && query.sort !== 'key';
  const bad = (detail: string) => new KvError('BAD_REQUEST', { detail: `query: ${detail}` });
  if (query.cursor !== undefined && sorted) throw bad('a cursor goes with sort=key only');
  if (query.cursor !== undefined && query.at !== undefined)
    throw bad('cursor has its own revision: leave at out');
  if (query.cursor !== undefined && query.since !== undefined)
    throw bad('cursor or since expected, not both');
  if (query.delimiter !== undefined && (sorted || query.order === 'desc' || query.countOnly)) {
    throw bad('a delimiter goes with sort=key and order=asc only, and not with countOnly');
  }
  if (query.at !== undefined && query.since !== undefined)
    throw bad('at is the past, which does not change: leave since out');
}

/** What a page is made of, before it is an answer. */
type Page = {
  readonly header: ResponseHeader;
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
  readonly count: number;
  readonly more: boolean;
  readonly prefixes?: readonly string[];
  /** Where the next page starts, or below which it ends when descending. */
  readonly next?: Uint8Array;
};

async function look(
  context: V1Context,
  request: ListRequest,
  span: Required<KeySpan>,
  cursor: Cursor | undefined,
): Promise<Look> {
  const { query } = request;
  const page = await readPage(context, request, span, cursor);
  const etag = new SelectionEtag();
  for (const kv of page.kvs) etag.add(kv.key, kv.modRevision);
  for (const prefix of page.prefixes ?? []) etag.add(utf8(prefix), 0);
  if (query.countOnly) etag.add(utf8('count'), page.count);
  const tag = etag.text();
  return { header: page.header, etag: tag, respond: () => pageResponse(context, request, page, tag) };
}

function pageResponse(context: V1Context, request: ListRequest, page: Page, etag: string): Response {
  const { query } = request;
  const epoch = context.epochOf(page.header);
  const headers = storeHeaders(context, page.header, page.revision);
  headers.set('etag', etag);
  const body: KeyPage = {
    revision: page.revision,
    cursor: formatCursor(epoch, page.revision),
    count: page.count,
    items: page.kvs.map(
      (kv): EntryResource => entryOf(kv, query.encoding ?? 'auto', query.keysOnly === true),
    ),
    ...(page.prefixes ? { prefixes: [...page.prefixes] } : {}),
    ...(page.more ? { more: true } : {}),
  };
  if (page.next) {
    body.nextCursor = formatCursor(epoch, page.revision, page.next);
    headers.set('link', `<${nextUrl(request, body.nextCursor)}>; rel="next"`);
  }
  return json(body, 200, headers);
}

function nextUrl(request: ListRequest, cursor: string): string {
  const kept = request.url.query
    .split('&')
    .filter((pair) => pair !== '' && !/^(cursor|since|wait)=/.test(pair));
  return `${request.url.path}?${[...kept, `cursor=${cursor}`].join('&')}`;
}

async function readPage(
  context: V1Context,
  request: ListRequest,
  span: Required<KeySpan>,
  cursor: Cursor | undefined,
): Promise<Page> {
  const { query, call } = request;
  const descending = query.order === 'desc';
  const from = cursor?.position;
  const rest = from === undefined ? span : descending ? { ...span, rangeEnd: from } : { ...span, key: from };
  const revision = cursor?.revision ?? query.at ?? 0;
  const limit = query.limit ?? context.limits.pageItemsDefault;
  const serializable = query.consistency === 'serializable';
  const filter = query.minModRevision === undefined ? {} : { minModRevision: query.minModRevision };
  if (query.countOnly || (query.sort !== undefined && query.sort !== 'key')) {
    const result = await context.api.range(
      {
        ...rest,
        ...filter,
        revision,
        serializable,
        countOnly: query.countOnly === true,
        keysOnly: query.keysOnly === true,
        limit,
        sortTarget: (query.sort ?? 'key') as SortTarget,
        sortOrder: (descending ? 'descend' : 'ascend') as SortOrder,
      },
      call,
    );
    const shown = revision || revisionOf(result.header);
    return {
      header: result.header,
      revision: shown,
      kvs: result.kvs,
      count: result.count,
      more: result.more,
    };
  }
  const options = {
    span: rest,
    revision,
    serializable,
    keysOnly: query.keysOnly === true,
    descending,
    ...filter,
  };
  if (query.delimiter !== undefined) return readGrouped(context, request, options, query.delimiter, limit);
  return readPlain(context, request, { ...options, limit });
}

async function readPlain(
  context: V1Context,
  request: ListRequest,
  options: Parameters<typeof scan>[1],
): Promise<Page> {
  const { limits } = context;
  const kvs: KeyValue[] = [];
  let bytes = 0;
  let count = 0;
  for await (const slice of scan(context.api, options, limits, request.call)) {
    if (kvs.length === 0) count = slice.count;
    for (const kv of slice.kvs) {
      kvs.push(kv);
      bytes += kv.key.length + kv.value.length;
    }
    const full = kvs.length >= (options.limit as number) || bytes >= limits.pageBytes;
    if (slice.more && !full) continue;
    const last = kvs.at(-1);
    const page = { header: slice.header, revision: slice.revision, kvs, count, more: slice.more };
    if (!slice.more || !last) return page;
    return { ...page, next: options.descending ? last.key : keyAfter(last.key) };
  }
  throw new KvError('INTERNAL', { detail: 'a scan ended without a slice' });
}

/** A listing by delimiter jumps over each group once its first key is seen: cost goes with what is answered. */
async function readGrouped(
  context: V1Context,
  request: ListRequest,
  options: Parameters<typeof scan>[1],
  delimiter: string,
  limit: number,
): Promise<Page> {
  const { limits } = context;
  const prefixLength = prefixOfQuery(request.query).length;
  const mark = binaryString(utf8(delimiter));
  const groups: string[] = [];
  const kvs: KeyValue[] = [];
  let at: KeySpan = options.span;
  let revision = options.revision ?? 0;
  let bytes = 0;
  let next: Uint8Array | undefined;
  for (let calls = 0; ; calls++) {
    if (calls > limits.scanItemsTotal)
      throw new KvError('UNPROCESSABLE', { detail: 'too many keys: a narrower prefix expected' });
    const left = limit - kvs.length - groups.length;
    const { value: slice } = await scan(
      context.api,
      { ...options, span: at, revision, limit: left },
      limits,
      request.call,
    ).next();
    if (!slice) throw new KvError('INTERNAL', { detail: 'a scan ended without a slice' });
    revision = slice.revision;
    next = undefined;
    for (const kv of slice.kvs) {
      if (next && binaryString(kv.key) < binaryString(next)) continue;
      const text = binaryString(kv.key);
      const end = text.indexOf(mark, prefixLength);
      if (end === -1) {
        kvs.push(kv);
        bytes += kv.key.length + kv.value.length;
        next = keyAfter(kv.key);
      } else {
        const group = fromBinaryString(text.slice(0, end + mark.length));
        groups.push(utf8Text(group));
        next = prefixEnd(group);
      }
    }
    const page = { header: slice.header, revision, kvs, count: kvs.length + groups.length, prefixes: groups };
    if (!slice.more || !next) return { ...page, more: false };
    const full = kvs.length + groups.length >= limit || bytes >= limits.pageBytes;
    if (full) return { ...page, more: true, next };
    at = { ...at, key: next };
  }
}
