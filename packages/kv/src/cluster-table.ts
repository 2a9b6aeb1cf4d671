import { assertNever } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Command } from './commands.ts';
import type { Engine } from './engine.ts';
import {
  alarmKey,
  alarmOfKey,
  decodeMember,
  encodeMember,
  idKey,
  idOfKey,
  type MemberRecord,
} from './state-records.ts';
import type { Alarm, AlarmType, MemberInfo } from './types.ts';

/** A command that changes who the members are. */
export type MemberChange = Extract<
  Command,
  { readonly type: 'memberAdd' | 'memberRemove' | 'memberPromote' | 'memberUpdate' }
>;

const NOTHING = new Uint8Array(0);

/** The members and the alarms of the cluster: small, in memory, and in their tables. */
export class ClusterTable {
  readonly #engine: Engine;
  readonly #members = new Map<bigint, MemberRecord>();
  #alarms: Alarm[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
    for (const [key, record] of engine.iterate('members')) {
      const id = idOfKey(key);
      this.#members.set(id, decodeMember(id, record));
    }
    this.#alarms = [...engine.iterate('alarms')].map(([key]) => alarmOfKey(key));
  }

  /** Ascending by id. */
  members(): MemberInfo[] {
    const present = [...this.#members.values()].filter((member) => !member.removed);
    return present.sort((a, b) => (a.id < b.id ? -1 : 1)).map(({ removed: _, ...member }) => member);
  }

  isRemoved(id: bigint): boolean {
    return this.#members.get(id)?.removed === true;
  }

  /** Ascending. */
  removedIds(): bigint[] {
    const gone = [...this.#members.values()].filter((member) => member.removed);
    return gone.map(({ id }) => id).sort((a, b) => (a < b ? -1 : 1));
  }

  /** Throws etcd's `KvError` where the change does not fit, with nothing changed: the same on every member. */
  change(command: MemberChange): void {
    switch (command.type) {
      case 'memberAdd':
        return this.#add(command);
      case 'memberRemove':
        this.#mustKeepVoter(this.#known(command.id));
        return this.removeMember(command.id);
      case 'memberPromote': {
        const member = this.#known(command.id);
        if (!member.isLearner) throw new KvError('MEMBER_NOT_LEARNER');
        return this.#store({ ...member, isLearner: false });
      }
      case 'memberUpdate': {
        const member = this.#known(command.id);
        this.#mustBeFree(command.peerUrls, command.id);
        return this.#store({ ...member, peerUrls: command.peerUrls });
      }
      default:
        assertNever(command, 'membership change');
    }
  }

  #add({ id, peerUrls, isLearner, learnersMax }: Extract<MemberChange, { type: 'memberAdd' }>): void {
    if (this.isRemoved(id)) throw new KvError('MEMBER_NOT_FOUND');
    if (this.#members.has(id)) throw new KvError('MEMBER_EXISTS');
    this.#mustBeFree(peerUrls, id);
    const members = this.members();
    if (isLearner && members.filter((member) => member.isLearner).length >= learnersMax) {
      throw new KvError('TOO_MANY_LEARNERS');
    }
    this.setMember({ id, name: '', peerUrls, clientUrls: [], isLearner });
  }

  #known(id: bigint): MemberRecord {
    const member = this.#members.get(id);
    if (member === undefined || member.removed) throw new KvError('MEMBER_NOT_FOUND');
    return member;
  }

  #mustKeepVoter(leaving: MemberRecord): void {
    const stays = (member: MemberInfo) => member.id !== leaving.id && !member.isLearner;
    if (!leaving.isLearner && !this.members().some(stays)) throw new KvError('MEMBER_NOT_ENOUGH_STARTED');
  }

  #mustBeFree(peerUrls: readonly string[], by: bigint): void {
    const inUse = (member: MemberInfo) =>
      member.id !== by && peerUrls.some((url) => member.peerUrls.includes(url));
    if (this.members().some(inUse)) throw new KvError('PEER_URL_EXISTS');
  }

  setMember(member: MemberInfo): void {
    this.#store({ ...member, removed: false });
  }

  /** The id is remembered: it must never come back. */
  removeMember(id: bigint): void {
    const gone = { id, name: '', peerUrls: [], clientUrls: [], isLearner: false, removed: true };
    this.#store(gone);
  }

  /** Of an unknown or removed member it does nothing: the removal may have overtaken it. */
  setAttributes(id: bigint, name: string, clientUrls: readonly string[]): void {
    const member = this.#members.get(id);
    if (member && !member.removed) this.#store({ ...member, name, clientUrls });
  }

  /** Ordered by member, then by kind. */
  alarms(): readonly Alarm[] {
    return this.#alarms;
  }

  has(alarm: AlarmType): boolean {
    return this.#alarms.length > 0 && this.#alarms.some((each) => each.alarm === alarm);
  }

  activate(alarm: Alarm): void {
    this.#engine.put('alarms', alarmKey(alarm), NOTHING);
    this.#reloadAlarms();
  }

  /** True when it was active. */
  deactivate(alarm: Alarm): boolean {
    const key = alarmKey(alarm);
    if (this.#engine.get('alarms', key) === undefined) return false;
    this.#engine.delete('alarms', key);
    this.#reloadAlarms();
    return true;
  }

  #reloadAlarms(): void {
    this.#alarms = [...this.#engine.iterate('alarms')].map(([key]) => alarmOfKey(key));
  }

  #store(member: MemberRecord): void {
    this.#members.set(member.id, member);
    this.#engine.put('members', idKey(member.id), encodeMember(member));
  }
}
