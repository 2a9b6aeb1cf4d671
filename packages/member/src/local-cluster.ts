import { KvError } from '@muster/contract';
import type {
  AdminApi,
  CallOptions,
  Command,
  CoreApi,
  MemberInfo,
  MembersResult,
  WithHeader,
} from '@muster/kv';
import type { LocalCalls } from './local-calls.ts';
import {
  type ClusterView,
  checkAdd,
  checkedPeerUrls,
  checkPromote,
  checkRemove,
  isStarted,
} from './membership-checks.ts';

type Cluster = Pick<CoreApi, 'memberList'> &
  Pick<AdminApi, 'memberAdd' | 'memberRemove' | 'memberUpdate' | 'memberPromote'>;

/**
 * The membership calls of `LocalApi`. What is checked here is judged by this member's own view and saves the cluster from
 * a change that would stop it; whether a change fits the members there are is decided where it is applied.
 */
export class LocalCluster implements Cluster {
  readonly #calls: LocalCalls;

  constructor(calls: LocalCalls) {
    this.#calls = calls;
  }

  async memberList(
    request: { readonly linearizable?: boolean } = {},
    options: CallOptions = {},
  ): Promise<WithHeader<MembersResult>> {
    this.#calls.admit(options);
    if (request.linearizable) await this.#calls.barrier(options);
    return this.#answer({ members: this.#calls.member.membership.members() });
  }

  async memberAdd(
    request: { readonly peerUrls: readonly string[]; readonly isLearner?: boolean },
    options: CallOptions = {},
  ): Promise<WithHeader<{ readonly member: MemberInfo; readonly members: readonly MemberInfo[] }>> {
    this.#calls.admit(options);
    const { strictReconfigCheck, learnersMax, memberIdOf, unixSeconds } =
      this.#calls.member.membership.policy;
    const peerUrls = checkedPeerUrls(request.peerUrls);
    const isLearner = request.isLearner ?? false;
    if (strictReconfigCheck) checkAdd(this.#view(), isLearner);
    const id = memberIdOf(peerUrls, unixSeconds());
    const command: Command = { type: 'memberAdd', id, peerUrls, isLearner, learnersMax };
    const { members } = await this.#calls.replicate(command, options, 'members');
    const member = members.find((each) => each.id === id);
    if (!member) throw new KvError('INTERNAL', { detail: 'a member was added and is not there' });
    return this.#answer({ member, members });
  }

  async memberRemove(
    request: { readonly id: bigint },
    options: CallOptions = {},
  ): Promise<WithHeader<MembersResult>> {
    this.#calls.admit(options);
    const leaving = this.#known(request.id);
    if (this.#calls.member.membership.policy.strictReconfigCheck) checkRemove(this.#view(), leaving);
    const { members } = await this.#calls.replicate(
      { type: 'memberRemove', id: request.id },
      options,
      'members',
    );
    return this.#answer({ members });
  }

  async memberUpdate(
    request: { readonly id: bigint; readonly peerUrls: readonly string[] },
    options: CallOptions = {},
  ): Promise<WithHeader<MembersResult>> {
    this.#calls.admit(options);
    const peerUrls = checkedPeerUrls(request.peerUrls);
    const command: Command = { type: 'memberUpdate', id: request.id, peerUrls };
    const { members } = await this.#calls.replicate(command, options, 'members');
    return this.#answer({ members });
  }

  async memberPromote(
    request: { readonly id: bigint },
    options: CallOptions = {},
  ): Promise<WithHeader<MembersResult>> {
    this.#calls.admit(options);
    const learner = this.#known(request.id);
    if (!learner.isLearner) throw new KvError('MEMBER_NOT_LEARNER');
    if (!isStarted(learner)) throw new KvError('LEARNER_NOT_READY');
    const call = { type: 'learnerReady', id: request.id } as const;
    const { ready } = await this.#calls.callLeader(call, options, 'learnerReady');
    if (!ready) throw new KvError('LEARNER_NOT_READY');
    if (this.#calls.member.membership.policy.strictReconfigCheck) checkPromote(this.#view());
    const { members } = await this.#calls.replicate(
      { type: 'memberPromote', id: request.id },
      options,
      'members',
    );
    return this.#answer({ members });
  }

  #view(): ClusterView {
    const { member } = this.#calls;
    return {
      self: member.id,
      members: member.machine.members(),
      connectedForMs: (id) => member.connectedForMs(id),
    };
  }

  #known(id: bigint): MemberInfo {
    const member = this.#calls.member.machine.members().find((each) => each.id === id);
    if (!member) throw new KvError('MEMBER_NOT_FOUND');
    return member;
  }

  /** etcd leaves the revision out of these headers. */
  #answer<T extends object>(result: T): WithHeader<T> {
    return { ...result, header: this.#calls.member.header(undefined) };
  }
}
