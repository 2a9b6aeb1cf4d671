import assert from 'node:assert/strict';
import { httpStatusOfGrpc, KvError } from '@muster/contract';
import type {
  Alarm,
  AlarmRequest,
  AlarmType,
  CallOptions,
  CompactRequest,
  CoreApi,
  DeleteRangeRequest,
  DeleteRangeResult,
  HashKvResult,
  LeaseGrantRequest,
  LeaseGrantResult,
  LeaseTimeToLiveResult,
  MemberInfo,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  StatusResult,
  TxnRequest,
  TxnResult,
  WatchHandle,
  WatchRequest,
  WatchSink,
  WithHeader,
} from '@muster/kv';
import { Agent, request as httpRequest } from 'undici';
import {
  big,
  bytes,
  decodeDelete,
  decodeHeader,
  decodePut,
  decodeRange,
  decodeTxn,
  encodeFields,
  encodeTxn,
  flag,
  type Json,
  list,
  number,
  object,
  text,
} from './json-codec.ts';
import { HttpWatch, SocketWatch } from './json-watch.ts';

const CALL_TIMEOUT_MS = 20_000;

/**
 * `EtcdApi` over the JSON gateway of any etcd v3 server. Watches go over chunked HTTP or over a WebSocket; over HTTP
 * there is no `requestProgress`, because etcd's HTTP/1.1 side reads the whole request before it answers.
 */
export class JsonApi implements CoreApi {
  readonly #url: string;
  readonly #agent = new Agent({ connections: 64, pipelining: 1 });
  readonly #watchOver: 'http' | 'websocket';

  constructor(options: { readonly url: string; readonly watchOver: 'http' | 'websocket' }) {
    this.#url = options.url;
    this.#watchOver = options.watchOver;
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async range(request: RangeRequest, options?: CallOptions): Promise<WithHeader<RangeResult>> {
    return this.#call('kv/range', encodeFields(request), decodeRange, options);
  }

  async put(request: PutRequest, options?: CallOptions): Promise<WithHeader<PutResult>> {
    return this.#call('kv/put', encodeFields(request), decodePut, options);
  }

  async deleteRange(
    request: DeleteRangeRequest,
    options?: CallOptions,
  ): Promise<WithHeader<DeleteRangeResult>> {
    return this.#call('kv/deleterange', encodeFields(request), decodeDelete, options);
  }

  async txn(request: TxnRequest, options?: CallOptions): Promise<WithHeader<TxnResult>> {
    return this.#call('kv/txn', encodeTxn(request), decodeTxn, options);
  }

  async compact(request: CompactRequest, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.#call('kv/compaction', encodeFields(request), () => ({}), options);
  }

  async leaseGrant(request: LeaseGrantRequest, options?: CallOptions): Promise<WithHeader<LeaseGrantResult>> {
    const body = { ID: String(request.id), TTL: String(request.ttlSeconds) };
    const decode = (json: Json) => ({ id: big(json.ID), ttlSeconds: number(json.TTL) });
    return this.#call('lease/grant', body, decode, options);
  }

  async leaseRevoke(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.#call('lease/revoke', { ID: String(request.id) }, () => ({}), options);
  }

  async leaseKeepAlive(
    request: { readonly id: bigint },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly id: bigint; readonly ttlSeconds: number }>> {
    const decode = (json: Json) => ({ id: big(json.ID), ttlSeconds: number(json.TTL) });
    return this.#call('lease/keepalive', { ID: String(request.id) }, decode, options);
  }

  async leaseTimeToLive(
    request: { readonly id: bigint; readonly keys?: boolean },
    options?: CallOptions,
  ): Promise<WithHeader<LeaseTimeToLiveResult>> {
    const body = { ID: String(request.id), keys: request.keys };
    const decode = (json: Json) => ({
      id: big(json.ID),
      ttlSeconds: number(json.TTL),
      grantedTtlSeconds: number(json.grantedTTL),
      keys: ((json.keys ?? []) as string[]).map(bytes),
    });
    return this.#call('lease/timetolive', body, decode, options);
  }

  async leaseLeases(options?: CallOptions): Promise<WithHeader<{ readonly leases: readonly bigint[] }>> {
    const decode = (json: Json) => ({ leases: list(json.leases).map((lease) => big(lease.ID)) });
    return this.#call('lease/leases', {}, decode, options);
  }

  watch(request: WatchRequest, sink: WatchSink): WatchHandle {
    return this.#watchOver === 'http'
      ? new HttpWatch(this.#url, request, sink)
      : new SocketWatch(this.#url, request, sink);
  }

  async memberList(
    request: { readonly linearizable?: boolean } = {},
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly members: readonly MemberInfo[] }>> {
    const decode = (json: Json) => ({
      members: list(json.members).map((member) => ({
        id: big(member.ID),
        name: text(member.name),
        peerUrls: (member.peerURLs ?? []) as string[],
        clientUrls: (member.clientURLs ?? []) as string[],
        isLearner: flag(member.isLearner),
      })),
    });
    return this.#call('cluster/member/list', encodeFields(request), decode, options);
  }

  async status(options?: CallOptions): Promise<WithHeader<StatusResult>> {
    const decode = (json: Json) => ({
      version: text(json.version),
      dbSize: number(json.dbSize),
      dbSizeInUse: number(json.dbSizeInUse),
      leader: big(json.leader),
      raftIndex: number(json.raftIndex),
      raftTerm: number(json.raftTerm),
      raftAppliedIndex: number(json.raftAppliedIndex),
      errors: (json.errors ?? []) as string[],
      isLearner: flag(json.isLearner),
      dbSizeQuota: number(json.dbSizeQuota),
    });
    return this.#call('maintenance/status', {}, decode, options);
  }

  async alarm(
    request: AlarmRequest,
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly alarms: readonly Alarm[] }>> {
    const body = {
      action: request.action.toUpperCase(),
      memberID: String(request.memberId),
      alarm: request.alarm.toUpperCase(),
    };
    const decode = (json: Json) => ({
      alarms: list(json.alarms).map((alarm) => ({
        memberId: big(alarm.memberID),
        alarm: text(alarm.alarm ?? 'NONE').toLowerCase() as AlarmType,
      })),
    });
    return this.#call('maintenance/alarm', body, decode, options);
  }

  async hash(options?: CallOptions): Promise<WithHeader<{ readonly hash: number }>> {
    return this.#call('maintenance/hash', {}, (json) => ({ hash: number(json.hash) }), options);
  }

  async hashKv(
    request: { readonly revision: number },
    options?: CallOptions,
  ): Promise<WithHeader<HashKvResult>> {
    const decode = (json: Json) => ({
      hash: number(json.hash),
      compactRevision: number(json.compact_revision),
      hashRevision: number(json.hash_revision),
    });
    return this.#call('maintenance/hashkv', encodeFields(request), decode, options);
  }

  async moveLeader(
    request: { readonly targetId: bigint },
    options?: CallOptions,
  ): Promise<WithHeader<unknown>> {
    const body = { targetID: String(request.targetId) };
    return this.#call('maintenance/transfer-leadership', body, () => ({}), options);
  }

  async #call<T>(
    path: string,
    body: Json,
    decode: (json: Json) => T,
    options: CallOptions = {},
  ): Promise<WithHeader<T>> {
    const response = await httpRequest(`${this.#url}/v3/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
      dispatcher: this.#agent,
      headersTimeout: options.timeoutMs ?? CALL_TIMEOUT_MS,
      bodyTimeout: options.timeoutMs ?? CALL_TIMEOUT_MS,
      ...(options.signal && { signal: options.signal }),
    });
    const answer = await response.body.text();
    if (response.statusCode !== 200) throw errorOf(path, response.statusCode, answer);
    assert.match(String(response.headers['content-type']), /^application\/json/, `${path}: content type`);
    const parsed = JSON.parse(answer) as Json;
    // A stream's answer, such as a keepalive's, is one line with the message inside `result`.
    if (parsed.error) throw errorOf(path, 200, JSON.stringify(object(parsed.error)));
    const json = parsed.result ? object(parsed.result) : parsed;
    return { ...decode(json), header: decodeHeader(json.header) } as WithHeader<T>;
  }
}

/** HTTP statuses of FailedPrecondition: 400 upstream, 412 where Debian links an older gateway. */
const PRECONDITION_STATUSES = [400, 412];

/** The error out of the table with the answer's exact text; its code and HTTP status must be the table's too. */
function errorOf(path: string, status: number, answer: string): Error {
  let json: Json;
  try {
    json = JSON.parse(answer) as Json;
  } catch {
    return new Error(`${path}: HTTP ${status} with a body that is not JSON: ${answer}`);
  }
  const message = text(json.message ?? json.error);
  const code = number(json.code ?? json.grpc_code);
  const error = KvError.fromText(message);
  if (!error) return new Error(`${path}: HTTP ${status}, code ${code}, a text of no known error: ${message}`);
  assert.equal(code, error.row.grpc, `${path}: code of "${message}"`);
  if (code === 9)
    assert.ok(PRECONDITION_STATUSES.includes(status), `${path}: HTTP ${status} of "${message}"`);
  else if (status !== 200)
    assert.equal(status, httpStatusOfGrpc(code), `${path}: HTTP status of "${message}"`);
  return error;
}
