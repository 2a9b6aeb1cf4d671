import assert from 'node:assert/strict';
import { Prng, utf8, utf8Text } from '@muster/base';
import { Changes } from './changes.ts';
import { Follower, Register, Renewals } from './observers.ts';
import { put, SimCluster, type SimMember } from './sim-cluster.ts';

/** Random faults under load; afterwards nothing acknowledged is missing and all members agree. */
export class FaultRun {
  readonly cluster: SimCluster;
  readonly prng: Prng;
  readonly acked = new Set<number>();
  readonly register: Register;
  readonly renewals: Renewals;
  readonly followers = new Map<bigint, Follower>();
  /** Set in runs whose members come and go. */
  readonly changes: Changes | undefined;
  #next = 0;

  constructor(seed: number, withChanges = false) {
    this.cluster = new SimCluster(3, seed, { logEntriesMax: 60, logCatchUpEntries: 20 });
    this.prng = new Prng(seed * 31 + 7);
    this.register = new Register(this.cluster);
    this.renewals = new Renewals(this.cluster);
    this.changes = withChanges ? new Changes(this.cluster, this.prng) : undefined;
    const { options } = this.cluster.network;
    options.loss = this.prng.chance(0.5) ? 0.03 : 0;
    options.duplicate = this.prng.chance(0.5) ? 0.05 : 0;
    for (const { disk } of this.cluster.members) {
      if (this.prng.chance(0.2)) disk.syncMs = 40;
      if (this.prng.chance(0.3)) disk.installMs = 400;
    }
  }

  async run(): Promise<void> {
    const { cluster, prng } = this;
    const leader = await cluster.elect();
    await this.register.begin(leader);
    await this.renewals.grant(leader);
    for (let step = 0; step < 120; step++) {
      const live = cluster.live();
      for (let i = prng.int(0, 5); i > 0; i--) this.#write(prng.pick(live));
      this.register.write(prng.pick(live));
      for (let i = prng.int(0, 3); i > 0; i--) this.register.read(prng.pick(live));
      if (prng.chance(0.3)) this.renewals.renew(prng.pick(live));
      if (prng.chance(0.2)) this.renewals.check(prng.pick(live));
      this.#follow();
      this.changes?.step(prng.pick(live));
      await cluster.run(prng.int(1, 8) * (prng.chance(0.05) ? 100 : 5));
      this.#fault(live);
      if (cluster.live().length === 0 || prng.chance(0.15)) this.#startAll();
    }
  }

  #write(m: SimMember): void {
    const n = ++this.#next;
    put(m, `k${n}`, String(n)).then(
      () => this.acked.add(n),
      () => {},
    );
  }

  #fault(live: readonly SimMember[]): void {
    const { cluster, prng } = this;
    const fault = prng.int(0, 36);
    if (fault === 0) cluster.crash(prng.pick(cluster.members));
    if (fault === 1) for (const m of cluster.members) cluster.crash(m);
    if (fault === 2) cluster.network.cut(prng.pick([1n, 2n]), 3n);
    if (fault === 3 || fault === 4) cluster.network.heal();
    if (fault === 5) for (const m of live) m.disk.engine.flush(() => {});
    if (fault === 6) prng.pick(cluster.members).disk.full = true;
    if (fault === 7) for (const m of cluster.members) m.disk.full = false;
    if (fault === 8) prng.pick(cluster.members).clock.pause();
    if (fault === 9) for (const m of cluster.members) m.clock.resume();
    if (fault === 10) cluster.leader?.clock.pause();
    if (fault === 11) this.#moveLeader();
  }

  #moveLeader(): void {
    const { leader, members } = this.cluster;
    leader?.api.moveLeader({ targetId: this.prng.pick(members).id }).catch(() => {});
  }

  /** Those that are members as the leader knows it: started, and in the end caught up. */
  #members(): SimMember[] {
    const table = this.cluster.leader?.member?.machine.members() ?? [];
    return this.cluster.members.filter((m) => m.member && table.some(({ id }) => id === m.id));
  }

  /** A learner serves no watches. */
  #follow(): void {
    for (const m of this.cluster.members) {
      const table = m.member?.machine.members() ?? [];
      if (!table.some(({ id, isLearner }) => id === m.id && !isLearner)) continue;
      const follower = this.followers.get(m.id) ?? new Follower(this.cluster, this.prng);
      this.followers.set(m.id, follower);
      follower.follow(m);
    }
  }

  /** Who was removed may be needed once more, to tell the others. */
  #startAll(alsoRemoved = false): void {
    for (const m of this.cluster.members) if (!m.member && (!m.removed || alsoRemoved)) this.cluster.start(m);
  }

  async check(): Promise<void> {
    const { cluster, acked } = this;
    cluster.network.heal();
    cluster.network.options.loss = 0;
    for (const m of cluster.members) {
      m.disk.full = false;
      m.clock.resume();
    }
    this.#startAll(true);
    this.changes?.startMissing();
    this.#follow();
    await cluster.elect();
    await cluster.run(3000);
    this.changes?.check();
    this.#startAll();
    // Changes under way come to their end, and what they leave is started.
    if (this.changes) await cluster.run(8000);
    this.changes?.startMissing();
    await cluster.elect();
    await cluster.run(3000);
    const members = this.#members();
    this.#follow();
    const voters = members.filter((m) => !m.member?.isLearner);
    const reader = this.prng.pick(voters);
    this.#write(reader);
    await cluster.run(1000);
    const { kvs } = await cluster.wait(reader.api.range({ key: utf8('k'), rangeEnd: utf8('l') }));
    const found = new Map(kvs.map((kv) => [Number(utf8Text(kv.key).slice(1)), kv]));
    for (const n of acked) assert.ok(found.has(n), `write ${n} was acknowledged and is gone`);
    for (const [n, kv] of found) assert.equal(kv.version, 1, `write ${n} was applied ${kv.version} times`);
    // A lease that nobody renews any more may end just now.
    const applied = () => new Set(members.map((m) => m.member?.applied)).size;
    assert.ok(await cluster.run(1000, () => applied() === 1), 'all members apply all there is');
    this.changes?.check();
    const hashes = members.map((m) => m.member?.machine.storeHash());
    assert.equal(new Set(hashes).size, 1, `members disagree: ${hashes}`);
    assert.ok(acked.has(this.#next), 'a write is acknowledged once all faults are over');
    assert.deepEqual(this.register.problems, []);
    assert.deepEqual(this.renewals.problems, []);
    const there = kvs.map((kv) => ({ revision: kv.modRevision, text: utf8Text(kv.key) }));
    there.sort((a, b) => a.revision - b.revision);
    for (const m of voters) this.followers.get(m.id)?.assertSaw(there);
  }
}

/** `MEMBER_SEED=7` replays one, `MEMBER_SEED=1000-2000` hunts. */
export function chosenSeeds(): number[] {
  const [from, to] = (process.env.MEMBER_SEED ?? '1-25').split('-').map(Number) as [
    number,
    number | undefined,
  ];
  return Array.from({ length: (to ?? from) - from + 1 }, (_, i) => from + i);
}
