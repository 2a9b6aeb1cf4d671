import { KvError } from '@muster/contract';
import type { AdminApi, CallOptions, CoreApi, MemberInfo, MembersResult, WithHeader } from '@muster/kv';
import type { LocalCalls } from './local-calls.ts';

type Cluster = Pick<CoreApi, 'memberList'> &
  Pick<AdminApi, 'memberAdd' | 'memberRemove' | 'memberUpdate' | 'memberPromote'>;

/** The membership calls of `LocalApi`. */
export class LocalCluster implements Cluster {
  readonly #calls: LocalCalls;

  constructor(calls: LocalCalls) {
    this.#calls = calls;
  }

  async memberList(
    request: { readonly linearizable?: boolean } = {},
    options: CallOptions = {},
  ): Promise<WithHeader<MembersResult>> {
    if (request.linearizable) await this.#calls.barrier(options);
    const { member } = this.#calls;
    // etcd leaves the revision out of this one header.
    return { members: member.machine.members(), header: member.header(undefined) };
  }

  memberAdd(
    ..._: readonly unknown[]
  ): Promise<WithHeader<{ readonly member: MemberInfo; readonly members: readonly MemberInfo[] }>> {
    return Promise.reject(new KvError('UNIMPLEMENTED'));
  }

  memberRemove(..._: readonly unknown[]): Promise<WithHeader<MembersResult>> {
    return Promise.reject(new KvError('UNIMPLEMENTED'));
  }

  memberUpdate(..._: readonly unknown[]): Promise<WithHeader<MembersResult>> {
    return Promise.reject(new KvError('UNIMPLEMENTED'));
  }

  memberPromote(..._: readonly unknown[]): Promise<WithHeader<MembersResult>> {
    return Promise.reject(new KvError('UNIMPLEMENTED'));
  }
}
