import { ManualClock, Prng, utf8 } from '@muster/base';
import type { EtcdApi, MemberInfo } from '@muster/kv';
import { type AuthPorts, isUnfilled, LocalApi, Member, type MemberLimits } from '../src/index.ts';
import { decodeRaftMeta, RAFT_META_KEY } from '../src/raft-meta.ts';
import { PausableClock } from './pausable-clock.ts';
import { simAuth } from './sim-auth.ts';
import { SimDisk, SimNetwork, SimSnapshots, SimTransport, SimWal } from './sim-ports.ts';

export type SimMember = {
  readonly id: bigint;
  readonly disk: SimDisk;
  member: Member | undefined;
  api: EtcdApi;
  transport: SimTransport | undefined;
  clock: PausableClock;
  /** Who the others said the members are, when this one joined. */
  joining: readonly MemberInfo[] | undefined;
  /** It was told that it is a member no longer. */
  removed: boolean;
};

/** Some members in one process on one manual clock, with a hostile network and disks that forget. */
export class SimCluster {
  readonly clock = new ManualClock();
  readonly prng: Prng;
  readonly network: SimNetwork;
  readonly members: SimMember[];
  readonly logs: string[] = [];
  readonly #infos: MemberInfo[];
  readonly #limits: Partial<MemberLimits>;
  #lastId: number;
  /** etcd's strict-reconfig-check. */
  strict = true;
  /** For members that start from now on; 0 for none. */
  quotaBytes = 0;

  /** For members that start from now on. */
  auth: AuthPorts;

  /** What a process would end with. */
  onFatal: (m: SimMember, error: Error) => void = (_m, error) => {
    throw error;
  };

  constructor(size: number, seed: number | string, limits: Partial<MemberLimits> = {}) {
    this.prng = new Prng(seed);
    this.auth = simAuth(this.prng);
    this.network = new SimNetwork(this.clock, this.prng);
    this.#limits = limits;
    this.#lastId = size;
    this.#infos = Array.from({ length: size }, (_, i) => ({
      id: BigInt(i + 1),
      name: '',
      peerUrls: [`http://127.0.0.1:${2380 + i}`],
      clientUrls: [],
      isLearner: false,
    }));
    this.members = this.#infos.map(({ id }) => ({
      id,
      disk: new SimDisk(),
      member: undefined,
      api: undefined as unknown as EtcdApi,
      transport: undefined,
      clock: new PausableClock(this.clock),
      joining: undefined,
      removed: false,
    }));
    for (const m of this.members) this.start(m);
  }

  /** Starts a member that was added before: it learns from `via` who the others are, as over the peer port. */
  join(id: bigint, via: SimMember): SimMember {
    const joining = (via.member as Member).machine.members();
    const m: SimMember = {
      id,
      disk: new SimDisk(),
      member: undefined,
      api: undefined as unknown as EtcdApi,
      transport: undefined,
      clock: new PausableClock(this.clock),
      joining,
      removed: false,
    };
    this.members.push(m);
    this.start(m);
    return m;
  }

  start(m: SimMember, options: { readonly forceNewCluster?: boolean } = {}): void {
    // Nothing came before it crashed: it asks again who the members are.
    if (m.joining && isUnfilled(m.disk.engine)) m.joining = this.#anyTable() ?? m.joining;
    m.clock = new PausableClock(this.clock);
    m.transport = new SimTransport(m.id, this.network, m.clock, (id) => this.#diskOf(id));
    m.member = new Member({
      id: m.id,
      clusterId: 77n,
      name: `m${m.id}`,
      clientUrls: [`http://127.0.0.1:${2379 + Number(m.id)}`],
      initialMembers: m.joining ? [] : this.#infos,
      ...options,
      ...(m.joining && { joining: m.joining }),
      membership: {
        strictReconfigCheck: this.strict,
        learnersMax: 1,
        memberIdOf: () => BigInt(++this.#lastId),
        unixSeconds: () => Math.floor(this.clock.nowMs() / 1000),
      },
      heartbeatMs: 100,
      electionMs: 1000,
      quotaBytes: this.quotaBytes,
      limits: this.#limits,
      clock: m.clock,
      prng: new Prng(this.prng.uint32()),
      engine: m.disk.engine,
      wal: new SimWal(m.disk, m.clock, this.prng),
      walContents: m.disk.contents(),
      transport: m.transport,
      snapshots: new SimSnapshots(m.disk, m.clock),
      log: (level, text, fields) =>
        this.logs.push(`${this.clock.nowMs()} m${m.id} ${level} ${text} ${JSON.stringify(fields)}`),
      onFatal: (error) => this.onFatal(m, error),
      onRemoved: () => {
        m.removed = true;
        this.clock.defer(() => this.crash(m));
      },
    });
    m.api = new LocalApi(m.member, { version: '3.6.5', quotaBytes: this.quotaBytes, auth: this.auth });
    m.member.start();
    this.network.attach(m.transport);
  }

  /** As `kill -9` and a power cut: nothing that was not synced is left, and some of what the engine sealed. */
  crash(m: SimMember): void {
    if (!m.member) return;
    this.network.detach(m.id);
    m.clock.kill();
    m.disk.engine = m.disk.engine.crashCopy(this.prng.int(0, 20));
    m.member = undefined;
  }

  /** An image of what `from` has now arrives at `to`, as if its leader had sent one. */
  deliverImage(from: SimMember, to: SimMember): void {
    const image = from.disk.engine.crashCopy();
    const snapshot = decodeRaftMeta(image.get('meta', RAFT_META_KEY) as Uint8Array);
    const name = `direct-${snapshot.index}`;
    to.disk.images.set(name, image);
    const term = (from.member as Member).soft.term;
    const message = { type: 'snapshot', from: from.id, to: to.id, term, snapshot } as const;
    to.transport?.deliver({ type: 'snapshotReceived', from: from.id, name, message });
  }

  get leader(): SimMember | undefined {
    return this.members.find((m) => m.member?.isLeader && m.member.lessor.primary);
  }

  live(): SimMember[] {
    return this.members.filter((m) => m.member);
  }

  /** Moves time in steps, letting promises settle between them, until `until` holds; fails after `maxMs`. */
  async run(maxMs: number, until: () => boolean = () => false): Promise<boolean> {
    for (let passed = 0; passed < maxMs; passed += 5) {
      this.clock.advance(5);
      await new Promise((resolve) => setImmediate(resolve));
      if (until()) return true;
    }
    return false;
  }

  /** Waits in simulated time for a promise; throws what it rejects with, or when it takes longer than `maxMs`. */
  async wait<T>(promise: Promise<T>, maxMs = 20_000): Promise<T> {
    let settled = false;
    const mark = () => {
      settled = true;
    };
    promise.then(mark, mark);
    const inTime = await this.run(maxMs, () => settled);
    if (!inTime) throw new Error(`nothing came within ${maxMs} simulated ms`);
    return promise;
  }

  async elect(): Promise<SimMember> {
    await this.run(20_000, () => this.leader !== undefined);
    const leader = this.leader;
    if (!leader) throw new Error('no leader was elected in 20 simulated seconds');
    return leader;
  }

  #anyTable(): readonly MemberInfo[] | undefined {
    const knowing = this.members.find((m) => (m.member?.machine.members().length ?? 0) > 0);
    return (this.leader ?? knowing)?.member?.machine.members();
  }

  #diskOf(id: bigint): SimDisk {
    return (this.members.find((m) => m.id === id) as SimMember).disk;
  }
}

export const put = (m: SimMember, key: string, value: string, lease = 0n) =>
  m.api.put({ key: utf8(key), value: utf8(value), lease });
