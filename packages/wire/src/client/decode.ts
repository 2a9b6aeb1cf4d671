/** etcd's messages as answers of `EtcdApi`. Revisions are safe integers: 2^53 of them are not reached. */
import type {
  Alarm,
  DeleteRangeResult,
  Event,
  HashKvResult,
  KeyValue,
  LeaderKey,
  LeaseTimeToLiveResult,
  MemberInfo,
  Permission,
  PutResult,
  RangeResult,
  ResponseHeader,
  ResponseOp,
  SnapshotChunk,
  StatusResult,
  TxnResult,
} from '@muster/kv';
import type * as auth from '../gen/auth_pb.js';
import type * as election from '../gen/election_pb.js';
import type * as kv from '../gen/kv_pb.js';
import type * as rpc from '../gen/rpc_pb.js';

/** Servers leave headers out here and there (3.4: of alarms); member lists carry no revision. */
export function decodeHeader(header: rpc.ResponseHeader | undefined): ResponseHeader {
  if (header === undefined) return { clusterId: 0n, memberId: 0n, raftTerm: 0 };
  const { clusterId, memberId, revision, raftTerm } = header;
  const base = { clusterId, memberId, raftTerm: Number(raftTerm) };
  return revision === 0n ? base : { ...base, revision: Number(revision) };
}

const revisionOf = (answer: { readonly header?: rpc.ResponseHeader | undefined }): number =>
  Number(answer.header?.revision ?? 0n);

export function decodeKv(from: kv.KeyValue): KeyValue {
  return {
    key: from.key,
    value: from.value,
    createRevision: Number(from.createRevision),
    modRevision: Number(from.modRevision),
    version: Number(from.version),
    lease: from.lease,
  };
}

const NO_KV: KeyValue = {
  key: new Uint8Array(),
  value: new Uint8Array(),
  createRevision: 0,
  modRevision: 0,
  version: 0,
  lease: 0n,
};

export function decodeEvent(event: kv.Event): Event {
  const type = (event.type as number) === 1 ? 'delete' : 'put';
  const changed = event.kv === undefined ? NO_KV : decodeKv(event.kv);
  return event.prevKv === undefined
    ? { type, kv: changed }
    : { type, kv: changed, prevKv: decodeKv(event.prevKv) };
}

export function decodeRange(answer: rpc.RangeResponse): RangeResult {
  return {
    revision: revisionOf(answer),
    kvs: answer.kvs.map(decodeKv),
    more: answer.more,
    count: Number(answer.count),
  };
}

export function decodePut(answer: rpc.PutResponse): PutResult {
  const revision = revisionOf(answer);
  return answer.prevKv === undefined ? { revision } : { revision, prevKv: decodeKv(answer.prevKv) };
}

export function decodeDelete(answer: rpc.DeleteRangeResponse): DeleteRangeResult {
  return {
    revision: revisionOf(answer),
    deleted: Number(answer.deleted),
    prevKvs: answer.prevKvs.map(decodeKv),
  };
}

export function decodeTxn(answer: rpc.TxnResponse): TxnResult {
  return {
    revision: revisionOf(answer),
    succeeded: answer.succeeded,
    responses: answer.responses.map(decodeOp),
  };
}

function decodeOp({ response }: rpc.ResponseOp): ResponseOp {
  switch (response.case) {
    case 'responsePut':
      return { type: 'put', put: decodePut(response.value) };
    case 'responseDeleteRange':
      return { type: 'deleteRange', deleteRange: decodeDelete(response.value) };
    case 'responseTxn':
      return { type: 'txn', txn: decodeTxn(response.value) };
    case 'responseRange':
      return { type: 'range', range: decodeRange(response.value) };
    case undefined:
      throw new TypeError('a transaction was answered with an operation of no known kind');
  }
}

export function decodeTimeToLive(answer: rpc.LeaseTimeToLiveResponse): LeaseTimeToLiveResult {
  return {
    id: answer.ID,
    ttlSeconds: Number(answer.TTL),
    grantedTtlSeconds: Number(answer.grantedTTL),
    keys: answer.keys,
  };
}

export function decodeMember(member: rpc.Member): MemberInfo {
  return {
    id: member.ID,
    name: member.name,
    peerUrls: member.peerURLs,
    clientUrls: member.clientURLs,
    isLearner: member.isLearner,
  };
}

const ALARM_TYPES = ['none', 'nospace', 'corrupt'] as const;

export function decodeAlarm(alarm: rpc.AlarmMember): Alarm {
  return { memberId: alarm.memberID, alarm: ALARM_TYPES[alarm.alarm as number] ?? 'none' };
}

export function decodeStatus(answer: rpc.StatusResponse): StatusResult {
  const { storageVersion, downgradeInfo } = answer;
  return {
    version: answer.version,
    dbSize: Number(answer.dbSize),
    dbSizeInUse: Number(answer.dbSizeInUse),
    leader: answer.leader,
    raftIndex: Number(answer.raftIndex),
    raftTerm: Number(answer.raftTerm),
    raftAppliedIndex: Number(answer.raftAppliedIndex),
    errors: answer.errors,
    isLearner: answer.isLearner,
    dbSizeQuota: Number(answer.dbSizeQuota),
    ...(storageVersion === '' ? {} : { storageVersion }),
    ...(downgradeInfo === undefined
      ? {}
      : { downgrade: { enabled: downgradeInfo.enabled, targetVersion: downgradeInfo.targetVersion } }),
  };
}

export function decodeHashKv(answer: rpc.HashKVResponse): HashKvResult {
  return {
    hash: answer.hash,
    compactRevision: Number(answer.compactRevision),
    hashRevision: Number(answer.hashRevision),
  };
}

export function decodeSnapshot(answer: rpc.SnapshotResponse): SnapshotChunk {
  return { blob: answer.blob, remainingBytes: Number(answer.remainingBytes), version: answer.version };
}

const PERMISSION_TYPES = ['read', 'write', 'readwrite'] as const;

export function decodePermission(permission: auth.Permission): Permission {
  const type = PERMISSION_TYPES[permission.permType as number] ?? 'read';
  const { key, rangeEnd } = permission;
  return rangeEnd.length === 0 ? { type, key } : { type, key, rangeEnd };
}

export function decodeLeaderKey(leader: election.LeaderKey | undefined): LeaderKey {
  if (leader === undefined) throw new TypeError('a campaign was answered without a leader');
  return { name: leader.name, key: leader.key, rev: Number(leader.rev), lease: leader.lease };
}

/** The key of a leader, which no answer is without. */
export function decodeLeaderKv(from: kv.KeyValue | undefined): KeyValue {
  if (from === undefined) throw new TypeError('a leader was told without its key');
  return decodeKv(from);
}
