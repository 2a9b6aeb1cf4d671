/** A whole group in memory, every part of it steppable alone: messages, disks, state machines, crashes. */
import { strict as assert } from 'node:assert';
import { Prng } from '@muster/base';
import {
  type ConfState,
  decodeConfChange,
  EMPTY_CONF_STATE,
  type Entry,
  GroupInvariants,
  type HardState,
  MemoryLog,
  type Message,
  type NodeId,
  type RaftConfig,
  RaftNode,
  type Ready,
} from '../src/index.ts';

export type SimOptions = {
  readonly seed: number | string;
  readonly voters: readonly NodeId[];
  readonly learners?: readonly NodeId[];
  readonly config?: Partial<RaftConfig>;
};

/** What an applied index means, the same on every member. */
type Applied = { readonly term: number; readonly confState: ConfState };

export class SimMember {
  readonly id: NodeId;
  /** Survives a crash. */
  readonly disk = new MemoryLog();
  hardState: HardState | undefined;
  /** Survives a crash: what the engine has flushed. */
  flushed = 0;
  /** Gone in a crash. */
  node: RaftNode | undefined;
  applied = 0;
  confState: ConfState;
  readonly bootConf: ConfState;
  unpersisted: Ready[] = [];
  toApply: Entry[] = [];

  constructor(id: NodeId, confState: ConfState) {
    this.id = id;
    this.confState = confState;
    this.bootConf = confState;
  }

  get running(): RaftNode {
    assert.ok(this.node, `node ${this.id} is down`);
    return this.node;
  }
}

export class SimGroup {
  readonly prng: Prng;
  readonly members = new Map<NodeId, SimMember>();
  readonly network: Message[] = [];
  readonly invariants = new GroupInvariants();
  /** Of each applied index. */
  readonly history: Applied[] = [];
  /** Every (context, index) that was answered. */
  readonly reads: { readonly id: NodeId; readonly context: number; readonly index: number }[] = [];
  readonly #bootConf: ConfState;
  readonly #config: Partial<RaftConfig>;
  readonly #readFloor = new Map<string, number>();
  readonly #votes = new Map<string, NodeId>();
  #contexts = 0;
  steps = 0;

  constructor(options: SimOptions) {
    this.prng = new Prng(options.seed);
    this.#config = options.config ?? {};
    this.#bootConf = { ...EMPTY_CONF_STATE, voters: options.voters, learners: options.learners ?? [] };
    this.history.push({ term: 0, confState: this.#bootConf });
    for (const id of [...options.voters, ...(options.learners ?? [])]) this.add(id, this.#bootConf);
  }

  /** A new member; without a configuration it waits to be told of one. */
  add(id: NodeId, confState: ConfState = EMPTY_CONF_STATE): SimMember {
    const member = new SimMember(id, confState);
    this.members.set(id, member);
    this.start(id);
    return member;
  }

  member(id: NodeId): SimMember {
    return this.members.get(id) as SimMember;
  }

  node(id: NodeId): RaftNode {
    return this.member(id).running;
  }

  get up(): SimMember[] {
    return [...this.members.values()].filter((m) => m.node);
  }

  /** The leader of the highest term. */
  leader(): RaftNode | undefined {
    let best: RaftNode | undefined;
    for (const { node } of this.up) if (node?.role === 'leader' && node.term > (best?.term ?? 0)) best = node;
    return best;
  }

  start(id: NodeId): void {
    const m = this.member(id);
    m.applied = m.flushed;
    m.confState = m.flushed > 0 ? (this.history[m.flushed] as Applied).confState : m.bootConf;
    m.node = new RaftNode({
      id,
      log: m.disk,
      ...(m.hardState && {
        hardState: { ...m.hardState, commit: Math.min(m.hardState.commit, m.disk.lastIndex) },
      }),
      confState: m.confState,
      applied: m.applied,
      electionTicks: 10,
      heartbeatTicks: 1,
      prng: new Prng(this.prng.uint32()),
      snapshotMeta: () => this.snapshotMeta(m),
      ...this.#config,
    });
    this.check();
  }

  snapshotMeta(m: SimMember) {
    if (m.applied === 0) return undefined;
    return { index: m.applied, ...(this.history[m.applied] as Applied) };
  }

  /** Memory is lost; of what was not persisted nothing is kept. */
  crash(id: NodeId): void {
    const m = this.member(id);
    m.node = undefined;
    m.unpersisted = [];
    m.toApply = [];
    this.invariants.crashed(id);
  }

  check(): void {
    this.steps++;
    const running = this.up.map((m) => m.running);
    const disks = [...this.members.values()].map((m) => ({
      id: m.id,
      compactedIndex: m.disk.compactedIndex,
      lastIndex: m.disk.lastIndex,
      term: (index: number) => m.disk.term(index),
    }));
    this.invariants.check(running, disks);
  }

  /** Takes one Ready, if there is one: sends what may leave, queues the rest for `persist` and `apply`. */
  take(id: NodeId): boolean {
    const m = this.member(id);
    if (!m.node?.hasReady) return false;
    const ready = m.node.takeReady();
    this.#send(ready.messages);
    m.unpersisted.push(ready);
    m.toApply.push(...ready.committedEntries);
    for (const read of ready.readStates) this.#onRead(id, read.context, read.index);
    this.check();
    return true;
  }

  /** Makes the oldest Ready durable. */
  persist(id: NodeId): boolean {
    const m = this.member(id);
    const ready = m.unpersisted.shift();
    if (!ready) return false;
    if (ready.snapshot) {
      const { index, term, confState } = ready.snapshot;
      m.disk.reset(index, term);
      m.applied = index;
      m.flushed = index;
      m.confState = confState;
      m.toApply = [];
    }
    m.disk.append(ready.entries);
    if (ready.hardState) m.hardState = ready.hardState;
    m.running.onPersisted(ready.number);
    this.check();
    this.#send(ready.messagesAfterPersist);
    return true;
  }

  /** Applies one committed entry. */
  apply(id: NodeId): boolean {
    const m = this.member(id);
    const entry = m.toApply.shift();
    if (!entry) return false;
    assert.equal(entry.index, m.applied + 1, `node ${id} applies out of order`);
    if (entry.type === 'config') m.confState = m.running.applyConfChange(decodeConfChange(entry.data));
    m.applied = entry.index;
    this.#recordApplied(m, entry);
    m.running.onApplied(entry.index);
    this.check();
    return true;
  }

  /** The engine makes durable what is applied. */
  flush(id: NodeId): void {
    const m = this.member(id);
    m.flushed = Math.max(m.flushed, m.applied);
  }

  compact(id: NodeId, keep: number): void {
    const m = this.member(id);
    m.disk.compactTo(Math.min(m.flushed, m.disk.lastIndex - keep));
    this.check();
  }

  deliver(message: Message): void {
    const target = this.members.get(message.to)?.node;
    target?.step(message);
    if (message.type === 'snapshot') {
      this.members.get(message.from)?.node?.reportSnapshot(message.to, target !== undefined);
    }
    this.check();
  }

  lose(message: Message): void {
    if (message.type === 'snapshot') this.members.get(message.from)?.node?.reportSnapshot(message.to, false);
    this.check();
  }

  tick(id: NodeId): void {
    this.member(id).node?.tick();
    this.check();
  }

  /** Asks for a read; whatever was committed before must be covered by the answer. */
  read(id: NodeId): boolean {
    const context = ++this.#contexts;
    this.#readFloor.set(`${id}/${context}`, this.invariants.maxCommit);
    return this.node(id).readIndex(context).accepted;
  }

  /** One whole turn of a member: everything that it can do without the network. */
  turn(id: NodeId): boolean {
    let busy = false;
    while (this.take(id) || this.persist(id) || this.apply(id)) busy = true;
    return busy;
  }

  /** Runs until nothing moves. Messages for which `allow` is false are lost. */
  settle(allow: (message: Message) => boolean = () => true): void {
    for (let round = 0; ; round++) {
      assert.ok(round < 10_000, 'the group does not settle');
      let busy = false;
      for (const m of this.up) if (this.turn(m.id)) busy = true;
      const batch = this.network.splice(0);
      for (const message of batch) if (allow(message)) this.deliver(message);
      if (!busy && batch.length === 0) return;
    }
  }

  #send(messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.type === 'voteResponse' && !message.reject) {
        const key = `${message.from}/${message.term}`;
        const before = this.#votes.get(key) ?? message.to;
        assert.equal(message.to, before, `node ${message.from} votes twice in term ${message.term}`);
        this.#votes.set(key, message.to);
      }
      this.network.push(message);
    }
  }

  #onRead(id: NodeId, context: number, index: number): void {
    const floor = this.#readFloor.get(`${id}/${context}`) as number;
    assert.ok(
      index >= floor,
      `read ${context} of node ${id} at ${index}, ${floor} was committed when it was asked`,
    );
    this.reads.push({ id, context, index });
  }

  #recordApplied(m: SimMember, entry: Entry): void {
    const known = this.history[entry.index];
    if (known === undefined) {
      assert.equal(entry.index, this.history.length);
      this.history.push({ term: entry.term, confState: m.confState });
      return;
    }
    assert.equal(known.term, entry.term, `entry ${entry.index} applied with different terms`);
    assert.deepEqual(known.confState, m.confState, `configurations differ at ${entry.index} (config safety)`);
  }
}
