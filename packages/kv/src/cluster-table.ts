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
