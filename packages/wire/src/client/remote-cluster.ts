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
import { ETCD_METHODS as M, STREAM_METHODS } from '../convert/methods.ts';
import { RemoteAuth } from './remote-auth.ts';
import { streamed } from './server-stream.ts';

/** Membership and upkeep of a remote cluster. What is of one member alone is of whichever is asked. */
export class RemoteCluster extends RemoteAuth implements AdminApi {
  memberList(
    request: { readonly linearizable?: boolean } = {},
    options?: CallOptions,
  ): Promise<WithHeader<MembersResult>> {
    return this.caller.unary(M.memberList, request, 'repeatable', options);
  }

  memberAdd(
    request: { readonly peerUrls: readonly string[]; readonly isLearner?: boolean },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly member: MemberInfo; readonly members: readonly MemberInfo[] }>> {
    return this.caller.unary(M.memberAdd, request, 'once', options);
  }

  memberRemove(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<MembersResult>> {
    return this.caller.unary(M.memberRemove, request, 'once', options);
  }

  memberUpdate(
    request: { readonly id: bigint; readonly peerUrls: readonly string[] },
    options?: CallOptions,
  ): Promise<WithHeader<MembersResult>> {
    return this.caller.unary(M.memberUpdate, request, 'once', options);
  }

  memberPromote(request: { readonly id: bigint }, options?: CallOptions): Promise<WithHeader<MembersResult>> {
    return this.caller.unary(M.memberPromote, request, 'once', options);
  }

  status(options?: CallOptions): Promise<WithHeader<StatusResult>> {
    return this.caller.unary(M.status, {}, 'repeatable', options);
  }

  alarm(
    request: AlarmRequest,
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly alarms: readonly Alarm[] }>> {
    return this.caller.unary(M.alarm, request, request.action === 'get' ? 'repeatable' : 'once', options);
  }

  hash(options?: CallOptions): Promise<WithHeader<{ readonly hash: number }>> {
    return this.caller.unary(M.hash, {}, 'repeatable', options);
  }

  async hashKv(
    request: { readonly revision: number },
    options?: CallOptions,
  ): Promise<WithHeader<HashKvResult>> {
    const answer = await this.caller.unary(M.hashKv, request, 'repeatable', options);
    if (answer.hashRevision > 0) return answer;
    // Before 3.6 servers do not say which revision it was: the one asked for, else their current one.
    return { ...answer, hashRevision: request.revision || (answer.header.revision ?? 0) };
  }

  moveLeader(request: { readonly targetId: bigint }, options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.moveLeader, request, 'once', options);
  }

  defragment(options?: CallOptions): Promise<WithHeader<unknown>> {
    return this.caller.unary(M.defragment, {}, 'once', options);
  }

  snapshot(options?: CallOptions): AsyncIterable<SnapshotChunk> {
    return streamed(this.caller, options, (channel, sending) =>
      channel.serverStream(STREAM_METHODS.snapshot, {}, sending),
    );
  }

  downgrade(
    request: { readonly action: 'validate' | 'enable' | 'cancel' | number; readonly version: string },
    options?: CallOptions,
  ): Promise<WithHeader<{ readonly version: string }>> {
    const repeat = request.action === 'validate' || request.action === 0 ? 'repeatable' : 'once';
    return this.caller.unary(M.downgrade, request, repeat, options);
  }
}
