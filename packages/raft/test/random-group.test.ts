import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { type ConfChangeStep, isJoint, type Message, memberIds, NONE, type NodeId } from '../src/index.ts';
import { SimGroup } from './sim-group.ts';

/** Replays one seed: RAFT_SEED=5-3 node --test packages/raft/test/random-group.test.ts */
const ONLY = process.env.RAFT_SEED;
const SEEDS = Number(process.env.RAFT_SEEDS ?? 40);
const STEPS = Number(process.env.RAFT_STEPS ?? 2500);
const NO_CONTEXT = new Uint8Array(0);

/** How likely each fault and operation is in one run: some runs lack some altogether, as a swarm of tests should. */
type Mood = {
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly weights: readonly (readonly [Action, number])[];
};
type Action = (run: Run) => void;

class Run {
  readonly group: SimGroup;
  readonly pool: readonly NodeId[];
  readonly mood: Mood;
  proposals = 0;
  /** Nobody on one side hears the other. */
  island = new Set<NodeId>();

  constructor(seed: string, size: number) {
    const voters = Array.from({ length: size }, (_, i) => BigInt(i + 1));
    this.pool = [...voters, BigInt(size + 1), BigInt(size + 2)];
    const small = {
      maxAppendBytes: 200,
      maxInflightMessages: 4,
      maxInflightBytes: 500,
      maxUncommittedBytes: 4000,
    };
    this.group = new SimGroup({ seed, voters, config: { ...small, maxCommittedBytesPerReady: 300 } });
    this.mood = this.#drawMood();
  }

  anyUp(): NodeId | undefined {
    const { up } = this.group;
    return up.length > 0 ? this.group.prng.pick(up).id : undefined;
  }

  step(): void {
    const { prng } = this.group;
    const total = this.mood.weights.reduce((sum, [, w]) => sum + w, 0);
    let at = prng.float() * total;
    for (const [action, weight] of this.mood.weights) {
      at -= weight;
      if (at < 0) return action(this);
    }
  }

  #drawMood(): Mood {
    const { prng } = this.group;
    const maybe = (most: number) => (prng.chance(0.35) ? 0 : prng.float() * most);
    return {
      loss: maybe(0.15),
      duplicate: maybe(0.1),
      reorder: maybe(0.5),
      weights: [
        [deliver, 40],
        [deliverMany, 4 + maybe(10)],
        [turn, 5 + maybe(20)],
        [take, 25],
        [persist, 20],
        [apply, 15],
        [tick, 4 + maybe(10)],
        [propose, 2 + maybe(8)],
        [read, maybe(8)],
        [flushAndCompact, maybe(3)],
        [crash, maybe(1)],
        [restart, 1],
        [stall, maybe(1)],
        [partition, maybe(0.5)],
        [unite, 0.5],
        [transfer, maybe(0.4)],
        [gone, maybe(1)],
        [changeMembers, maybe(0.8)],
        [unreachable, maybe(0.5)],
        [campaign, maybe(0.2)],
      ],
    };
  }
}

const onAny = (act: (run: Run, id: NodeId) => void) => (run: Run) => {
  const id = run.anyUp();
  if (id !== undefined) act(run, id);
};
const take = onAny((run, id) => run.group.take(id));
const turn = onAny((run, id) => run.group.turn(id));
const persist = onAny((run, id) => run.group.persist(id));
const apply = onAny((run, id) => run.group.apply(id));
const tick = onAny((run, id) => run.group.tick(id));
const read = onAny((run, id) => run.group.read(id));
const campaign = onAny((run, id) => run.group.node(id).campaign());
const unreachable = onAny((run, id) => run.group.node(id).reportUnreachable(run.group.prng.pick(run.pool)));
const propose = onAny((run, id) => {
  const count = run.group.prng.int(1, 4);
  run.group
    .node(id)
    .propose(Array.from({ length: count }, () => new Uint8Array([++run.proposals & 0xff, count])));
});
const flushAndCompact = onAny((run, id) => {
  run.group.flush(id);
  if (run.group.prng.chance(0.3)) run.group.compact(id, run.group.prng.int(0, 8));
});
const transfer = onAny((run, id) => run.group.node(id).transferLeadership(run.group.prng.pick(run.pool)));

function deliver(run: Run): void {
  const { group, mood } = run;
  const { network, prng } = group;
  if (network.length === 0) return;
  const at = prng.chance(mood.reorder) ? prng.int(0, network.length - 1) : 0;
  const message = network[at] as Message;
  if (!prng.chance(mood.duplicate)) network.splice(at, 1);
  const cut = run.island.has(message.from) !== run.island.has(message.to);
  if (cut || prng.chance(mood.loss) || !group.members.get(message.to)?.node) group.lose(message);
  else group.deliver(newerSnapshot(run, message));
}

function deliverMany(run: Run): void {
  for (let n = run.group.prng.int(2, 12); n > 0; n--) deliver(run);
}

/** The driver may send a snapshot newer than the one announced. */
function newerSnapshot({ group }: Run, message: Message): Message {
  const sender = group.members.get(message.from);
  if (message.type !== 'snapshot' || !sender?.node || !group.prng.chance(0.5)) return message;
  const newer = group.snapshotMeta(sender);
  return newer && newer.index > message.snapshot.index ? { ...message, snapshot: newer } : message;
}

/** Long enough for an election, while the others stand still: a slow process, or slow others. */
function stall(run: Run): void {
  const id = run.anyUp();
  if (id === undefined) return;
  for (let ticks = run.group.prng.int(5, 25); ticks > 0; ticks--) run.group.tick(id);
}

function partition(run: Run): void {
  const { prng } = run.group;
  run.island = new Set(prng.shuffle([...run.pool]).slice(0, prng.int(1, 2)));
}

function unite(run: Run): void {
  run.island.clear();
}

function crash(run: Run): void {
  const id = run.anyUp();
  if (id !== undefined) run.group.crash(id);
}

function restart(run: Run): void {
  const down = [...run.group.members.values()].filter((m) => !m.node);
  if (down.length > 0) run.group.start(run.group.prng.pick(down).id);
}

/** True news and false alarms alike. */
function gone(run: Run): void {
  const { group } = run;
  const leader = group.leader()?.id ?? group.prng.pick(run.pool);
  if (group.prng.chance(0.5) && group.members.get(leader)?.node) group.crash(leader);
  for (const m of group.up) if (m.id !== leader && group.prng.chance(0.8)) m.running.leaderGone(leader);
}

function changeMembers(run: Run): void {
  const { group, pool } = run;
  const { prng } = group;
  const steps: ConfChangeStep[] = [];
  for (let n = prng.chance(0.6) ? 1 : prng.int(2, 3); n > 0; n--) {
    const node = prng.pick(pool);
    if (steps.some((s) => s.node === node)) continue;
    steps.push({ type: prng.pick(['addVoter', 'addVoter', 'addLearner', 'remove'] as const), node });
    if (!group.members.has(node)) group.add(node);
  }
  const proposer = run.anyUp();
  if (proposer !== undefined) group.node(proposer).proposeConfChange({ steps, context: NO_CONTEXT });
}

/** Everything works again: the group must elect, commit, answer reads and become equal. */
function heal({ group }: Run): void {
  for (const m of group.members.values()) if (!m.node) group.start(m.id);
  const done = () => {
    const leader = group.leader();
    if (!leader) return false;
    const goal = leader.status();
    if (goal.commit !== goal.lastIndex || isJoint(goal.confState) || goal.transferee !== NONE) return false;
    return memberIds(leader.confState).every(
      (id) => group.member(id).applied === goal.lastIndex && group.node(id).leader === leader.id,
    );
  };
  group.settle();
  for (let round = 0; !done(); round++) {
    assert.ok(round < 400, `no progress after healing: ${describe(group)}`);
    for (const m of group.up) group.tick(m.id);
    group.settle();
  }
}

function describe(group: SimGroup): string {
  const text = (_: string, v: unknown) => (typeof v === 'bigint' ? Number(v) : v);
  return group.up.map((m) => JSON.stringify(m.running.status(), text)).join('\n');
}

function checkLive(run: Run): void {
  const { group } = run;
  heal(run);
  const leader = group.leader();
  assert.ok(leader);
  const before = leader.status().commit;
  assert.deepEqual(leader.propose([new Uint8Array([1])]), { accepted: true });
  const readers = memberIds(leader.confState).filter((id) => group.read(id));
  const answered = group.reads.length;
  group.settle();
  // Rounds whose heartbeats were lost before the healing go out again with the next one.
  group.tick(leader.id);
  group.settle();
  assert.ok(group.reads.length >= answered + readers.length, `every member reads: ${describe(group)}`);
  heal(run);
  assert.ok(leader.status().commit > before, 'a proposal is committed');
  const [first, ...others] = memberIds(leader.confState).map((id) => group.member(id));
  for (const other of others) assert.equal(other.applied, first?.applied);
}

function runSeed(seed: string): Run {
  const run = new Run(seed, Number(seed.split('-')[0]));
  try {
    for (let i = 0; i < STEPS; i++) run.step();
    checkLive(run);
  } catch (error) {
    throw new Error(`RAFT_SEED=${seed} fails: ${(error as Error).message}`, { cause: error });
  }
  return run;
}

for (const size of [3, 5]) {
  test(`random faults, then healing: ${size} nodes`, { skip: ONLY !== undefined }, () => {
    const base = process.env.RAFT_BASE ?? '1';
    let commits = 0;
    let reads = 0;
    for (let i = 0; i < SEEDS; i++) {
      const { group } = runSeed(`${size}-${base}-${i}`);
      commits += group.invariants.maxCommit;
      reads += group.reads.length;
    }
    if (process.env.RAFT_VERBOSE !== undefined) console.log({ commits, reads });
    assert.ok(commits > SEEDS * 20, `the faults leave room for work: ${commits} commits`);
    assert.ok(reads > SEEDS, `reads are answered under faults: ${reads}`);
  });
}

if (ONLY !== undefined) test(`random faults: seed ${ONLY}`, () => void runSeed(ONLY));
