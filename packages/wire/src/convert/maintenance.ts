import type {
  Alarm,
  AlarmRequest,
  EtcdApi,
  HashKvResult,
  SnapshotChunk,
  StatusResult,
  WithHeader,
} from '@muster/kv';
import {
  AlarmRequestSchema,
  AlarmResponseSchema,
  DefragmentRequestSchema,
  DowngradeRequestSchema,
  DowngradeResponseSchema,
  HashKVRequestSchema,
  HashKVResponseSchema,
  HashRequestSchema,
  HashResponseSchema,
  MoveLeaderRequestSchema,
  SnapshotRequestSchema,
  SnapshotResponseSchema,
  StatusRequestSchema,
  type StatusResponse,
  StatusResponseSchema,
} from '../gen/rpc_pb.js';
import { codecOf, emptyCodec } from './codec.ts';
import { headerMessage, headerOf, numberOf } from './header.ts';
import { ALARM_ACTIONS, ALARM_TYPES, DOWNGRADE_ACTIONS, nameOf, numberOfName } from './names.ts';

export const alarmRequest = codecOf(
  AlarmRequestSchema,
  ({ action, memberId, alarm }: AlarmRequest) => ({
    action: ALARM_ACTIONS.indexOf(action),
    memberID: memberId,
    alarm: ALARM_TYPES.indexOf(alarm),
  }),
  ({ action, memberID, alarm }): AlarmRequest => ({
    action: nameOf(ALARM_ACTIONS, action, 'alarm action'),
    memberId: memberID,
    alarm: nameOf(ALARM_TYPES, alarm, 'alarm type'),
  }),
);

export const alarmResponse = codecOf(
  AlarmResponseSchema,
  ({ header, alarms }: WithHeader<{ readonly alarms: readonly Alarm[] }>) => ({
    header: headerMessage(header),
    alarms: alarms.map(({ memberId, alarm }) => ({ memberID: memberId, alarm: ALARM_TYPES.indexOf(alarm) })),
  }),
  ({ header, alarms }) => ({
    header: headerOf(header),
    alarms: alarms.map(({ memberID, alarm }) => ({
      memberId: memberID,
      alarm: nameOf(ALARM_TYPES, alarm, 'alarm type'),
    })),
  }),
);

export const statusRequest = emptyCodec(StatusRequestSchema);

export const statusResponse = codecOf(
  StatusResponseSchema,
  (status: WithHeader<StatusResult>) => ({
    header: headerMessage(status.header),
    version: status.version,
    dbSize: BigInt(status.dbSize),
    leader: status.leader,
    raftIndex: BigInt(status.raftIndex),
    raftTerm: BigInt(status.raftTerm),
    raftAppliedIndex: BigInt(status.raftAppliedIndex),
    errors: [...status.errors],
    dbSizeInUse: BigInt(status.dbSizeInUse),
    isLearner: status.isLearner,
    storageVersion: status.storageVersion ?? '',
    dbSizeQuota: BigInt(status.dbSizeQuota),
    ...(status.downgrade === undefined ? {} : { downgradeInfo: { ...status.downgrade } }),
  }),
  statusOf,
);

function statusOf(message: StatusResponse): WithHeader<StatusResult> {
  const { storageVersion, downgradeInfo } = message;
  return {
    header: headerOf(message.header),
    version: message.version,
    dbSize: numberOf(message.dbSize),
    dbSizeInUse: numberOf(message.dbSizeInUse),
    leader: message.leader,
    raftIndex: numberOf(message.raftIndex),
    raftTerm: numberOf(message.raftTerm),
    raftAppliedIndex: numberOf(message.raftAppliedIndex),
    errors: message.errors,
    isLearner: message.isLearner,
    dbSizeQuota: numberOf(message.dbSizeQuota),
    ...(storageVersion === '' ? {} : { storageVersion }),
    ...(downgradeInfo === undefined
      ? {}
      : { downgrade: { enabled: downgradeInfo.enabled, targetVersion: downgradeInfo.targetVersion } }),
  };
}

export const defragmentRequest = emptyCodec(DefragmentRequestSchema);
export const hashRequest = emptyCodec(HashRequestSchema);
export const snapshotRequest = emptyCodec(SnapshotRequestSchema);

export const hashResponse = codecOf(
  HashResponseSchema,
  ({ header, hash }: WithHeader<{ readonly hash: number }>) => ({ header: headerMessage(header), hash }),
  ({ header, hash }) => ({ header: headerOf(header), hash }),
);

export const hashKvRequest = codecOf(
  HashKVRequestSchema,
  ({ revision }: { readonly revision: number }) => ({ revision: BigInt(revision) }),
  ({ revision }) => ({ revision: numberOf(revision) }),
);

export const hashKvResponse = codecOf(
  HashKVResponseSchema,
  (result: WithHeader<HashKvResult>) => ({
    header: headerMessage(result.header),
    hash: result.hash,
    compactRevision: BigInt(result.compactRevision),
    hashRevision: BigInt(result.hashRevision),
  }),
  (message) => ({
    header: headerOf(message.header),
    hash: message.hash,
    compactRevision: numberOf(message.compactRevision),
    hashRevision: numberOf(message.hashRevision),
  }),
);

/** A part of the stream; etcd never sets its header. */
export const snapshotResponse = codecOf(
  SnapshotResponseSchema,
  ({ blob, remainingBytes, version }: SnapshotChunk) => ({
    remainingBytes: BigInt(remainingBytes),
    blob,
    version,
  }),
  ({ blob, remainingBytes, version }): SnapshotChunk => ({
    blob,
    remainingBytes: numberOf(remainingBytes),
    version,
  }),
);

export const moveLeaderRequest = codecOf(
  MoveLeaderRequestSchema,
  ({ targetId }: { readonly targetId: bigint }) => ({ targetID: targetId }),
  ({ targetID }) => ({ targetId: targetID }),
);

type DowngradeRequest = Parameters<EtcdApi['downgrade']>[0];

export const downgradeRequest = codecOf(
  DowngradeRequestSchema,
  ({ action, version }: DowngradeRequest) => ({ action: numberOfName(DOWNGRADE_ACTIONS, action), version }),
  ({ action, version }): DowngradeRequest => ({ action: DOWNGRADE_ACTIONS[action] ?? action, version }),
);

export const downgradeResponse = codecOf(
  DowngradeResponseSchema,
  ({ header, version }: WithHeader<{ readonly version: string }>) => ({
    header: headerMessage(header),
    version,
  }),
  ({ header, version }) => ({ header: headerOf(header), version }),
);
