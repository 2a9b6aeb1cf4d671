import type {
  AdminApi,
  Alarm,
  AlarmRequest,
  CallOptions,
  HashKvResult,
  MemberInfo,
  MembersResult,
  SnapshotChunk,
  StatusResult,
  WithHeader,
} from '@muster/kv';
import { Cluster, Maintenance, type Member } from '../gen/rpc_pb.js';
import { asFailure } from './caller.ts';
import { decodeAlarm, decodeHashKv, decodeMember, decodeSnapshot, decodeStatus } from './decode.ts';
import { encodeAlarmType } from './encode.ts';
import { nothing, RemoteAuth } from './remote-auth.ts';
import { streamed } from './server-stream.ts';

const ALARM_ACTIONS = { get: 0, activate: 1, deactivate: 2 } as const;
const DOWNGRADE_ACTIONS = { validate: 0, enable: 1, cancel: 2 } as const;

const membersOf = ({ members }: { readonly members: readonly Member[] }) => ({
  members: members.map(decodeMember),
});

/** Membership and upkeep of a remote cluster. What is of one member alone is of whichever is asked. */
export class RemoteCluster extends RemoteAuth implements AdminApi {
  memberList(
    request: { readonly linearizable?: boolean } = {},
    options?: CallOptions,
  ): Promise<WithHeader<MembersResult>> {
    const message = { linearizable: request.linearizable ?? false };
    return this.call(Cluster.method.memberList, message, 'repeatable', options, membersOf);
  }

  memberAdd(
    request: { readonly peerUrls: readonly string[]; readonly isLearner?: boolean },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly member: MemberInfo; readonly members: readonly MemberInfo[] }>> {
    const message = { peerURLs: [...request.peerUrls], isLearner: request.isLearner ?? false };
    return this.call(Cluster.method.memberAdd, message, 'once', options, (answer) => {
      if (answer.member === undefined) throw asFailure('a new member was not told').toKvError();
      return { member: decodeMember(answer.member), ...membersOf(answer) };
    });
  }

  memberRemove(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<MembersResult>> {
    return this.call(Cluster.method.memberRemove, { ID: request.id }, 'once', options, membersOf);
  }

  memberUpdate(
    request: { readonly id: bigint; readonly peerUrls: readonly string[] },
    options?: CallOptions,
  ): Promise<WithHeader<MembersResult>> {
    const message = { ID: request.id, peerURLs: [...request.peerUrls] };
    return this.call(Cluster.method.memberUpdate, message, 'once', options, membersOf);
  }

  memberPromote(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<MembersResult>> {
    return this.call(Cluster.method.memberPromote, { ID: request.id }, 'once', options, membersOf);
  }

  status(options?: CallOptions): Promise<WithHeader<StatusResult>> {
    return this.call(Maintenance.method.status, {}, 'repeatable', options, decodeStatus);
  }

  alarm(
    request: AlarmRequest,
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly alarms: readonly Alarm[] }>> {
    const message = {
      action: ALARM_ACTIONS[request.action] as number,
      memberID: request.memberId,
      alarm: encodeAlarmType(request.alarm),
    };
    const repeat = request.action === 'get' ? 'repeatable' : 'once';
    return this.call(Maintenance.method.alarm, message, repeat, options, ({ alarms }) => ({
      alarms: alarms.map(decodeAlarm),
    }));
  }

  hash(options?: CallOptions): Promise<WithHeader<{ readonly hash: number }>> {
    return this.call(Maintenance.method.hash, {}, 'repeatable', options, ({ hash }) => ({ hash }));
  }

  async hashKv(
    request: { readonly revision: number },
    options?: CallOptions,
  ): Promise<WithHeader<HashKvResult>> {
    const message = { revision: BigInt(request.revision) };
    const method = Maintenance.method.hashKV;
    const answer = await this.call(method, message, 'repeatable', options, decodeHashKv);
    if (answer.hashRevision > 0) return answer;
    // Before 3.6 servers do not say which revision it was: the one asked for, else their current one.
    return { ...answer, hashRevision: request.revision || (answer.header.revision ?? 0) };
  }

  moveLeader(request: { readonly targetId: bigint }, options?: CallOptions): Promise<WithHeader<unknown>> {
    const message = { targetID: request.targetId };
    return this.call(Maintenance.method.moveLeader, message, 'once', options, nothing);
  }

  defragment(options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.call(Maintenance.method.defragment, {}, 'once', options, nothing);
  }

  snapshot(options?: CallOptions): AsyncIterable<SnapshotChunk> {
    return streamed(this.caller, options, decodeSnapshot, (channel, sending) =>
      channel.serverStream(Maintenance.method.snapshot, {}, sending),
    );
  }

  downgrade(
    request: { readonly action: 'validate' | 'enable' | 'cancel' | number; readonly version: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly version: string }>> {
    const { action, version } = request;
    const message = { action: typeof action === 'number' ? action : DOWNGRADE_ACTIONS[action], version };
    const repeat = message.action === DOWNGRADE_ACTIONS.validate ? 'repeatable' : 'once';
    return this.call(Maintenance.method.downgrade, message, repeat, options, (answer) => ({
      version: answer.version,
    }));
  }
}
