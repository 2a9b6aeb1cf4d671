import { assert, type Clock, type Prng, type Timer } from '@muster/base';
import { KvError } from '@muster/contract';
import type { ApplyOutcome, Command, Engine, ResponseHeader, StateMachine, WatchHub } from '@muster/kv';
import {
  decodeConfChange,
  type MemoryLog,
  type Message,
  NONE,
  type NodeId,
  RaftNode,
  type Ready,
  type SoftState,
} from '@muster/raft';
import { ApplyLoop, outcomeError } from './apply-loop.ts';
import { HandOver } from './hand-over.ts';
import { LeaderAnswers } from './leader-answers.ts';
import type { LeaderAnswer, LeaderCall } from './leader-calls.ts';
import { LeaderLink } from './leader-link.ts';
import { Lessor } from './lessor.ts';
import { checkLimits, DEFAULT_LIMITS, type MemberLimits } from './limits.ts';
import { LogKeeper } from './log-keeper.ts';
import type { MemberCounters, MemberOptions } from './member-options.ts';
import { Persister } from './persister.ts';
import type { PeerEvent } from './ports.ts';
import { Proposer, type WriteDone } from './proposer.ts';
import { Publisher } from './publisher.ts';
import { openRaftState, type RaftStart } from './raft-state.ts';
import { ReadBarrier } from './read-barrier.ts';
import { Snapshotter } from './snapshotter.ts';
import { makeHub, openMachine } from './state.ts';

/**
 * One cluster member: drives raft and the replicated state over its ports. Everything happens in one loop, the pump:
 * inputs only queue and wake it; a turn proposes all that waits, takes what raft wants done, applies what is
 * committed and completes callers.
 */
export class Member {
  readonly id: NodeId;
  readonly clusterId: bigint;
  readonly limits: MemberLimits;
  readonly requestTimeoutMs: number;
  readonly hub: WatchHub;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly #options: MemberOptions;
  readonly #raft: RaftNode;
  readonly #memoryLog: MemoryLog;
  /** Set when the log must start over before anything else (a crash while a snapshot was installed). */
  readonly #startOver: RaftStart | undefined;
  readonly #persister: Persister;
  readonly #applyLoop: ApplyLoop;
  readonly #proposer: Proposer;
  readonly #reads: ReadBarrier;
  readonly #link: LeaderLink;
  readonly #lessor: Lessor;
  readonly #publisher: Publisher;
  readonly #snapshotter: Snapshotter;
  readonly #keeper: LogKeeper;
  readonly #handOver: HandOver;
  #machine: StateMachine;
  #soft: SoftState;
  #received = new Map<number, string>();
  #installing = false;
  #waitingForEngine = false;
  #scheduled = false;
  #state: 'new' | 'running' | 'stopping' | 'stopped' = 'new';
  #tickTimer: Timer | undefined;
  #lastTickMs = 0;
  #leaderChanges = 0;
  #committed = 0;
  #appliedCommands = 0;
  #onCompacted: (() => void)[] = [];

  constructor(options: MemberOptions) {
    this.#options = options;
    this.id = options.id;
    this.clusterId = options.clusterId;
    this.limits = checkLimits({ ...DEFAULT_LIMITS, ...options.limits });
    this.requestTimeoutMs = 5000 + 2 * options.electionMs;
    this.engine = options.engine;
    this.clock = options.clock;
    this.prng = options.prng;
    this.#machine = openMachine(this.#options);
    const start = openRaftState(options, this.#machine);
    this.#memoryLog = start.log;
    this.#startOver = start.resetLog ? start : undefined;
    this.#raft = new RaftNode({
      id: options.id,
      log: start.log,
      hardState: start.hardState,
      confState: start.meta.confState,
      applied: start.meta.index,
      electionTicks: Math.max(2, Math.round(options.electionMs / options.heartbeatMs)),
      heartbeatTicks: 1,
      prng: options.prng,
      snapshotMeta: () => this.#applyLoop.meta,
    });
    this.#handOver = new HandOver({
      raft: this.#raft,
      clock: options.clock,
      connected: (peer) => this.connectedForMs(peer) !== undefined,
    });
    this.#soft = { role: 'follower', leader: NONE, term: start.hardState.term };
    this.hub = makeHub(options, {
      machine: () => this.#machine,
      header: (revision) => this.header(revision),
    });
    this.#proposer = new Proposer({
      raft: this.#raft,
      clock: options.clock,
      limits: this.limits,
      firstSequence: options.prng.uint32() * 2 ** 20,
    });
    this.#persister = new Persister({
      wal: options.wal,
      hardState: start.hardState,
      onPersisted: (ready) => this.#onPersisted(ready),
      onFatal: (error) => options.onFatal(error),
    });
    this.#applyLoop = this.#makeApplyLoop(start.meta);
    this.#reads = new ReadBarrier({
      ask: (context) => this.#soft.leader !== NONE && this.#raft.readIndex(context).accepted,
      countMax: this.limits.pendingReadsMax,
      retryMs: this.limits.readIndexRetryMs,
    });
    this.#lessor = this.#makeLessor();
    this.#link = this.#makeLink();
    this.#publisher = new Publisher({
      id: options.id,
      name: options.name,
      clientUrls: options.clientUrls,
      propose: (command, done) => this.#propose(command, (error) => done(error === undefined)),
    });
    this.#snapshotter = this.#makeSnapshotter();
    this.#keeper = new LogKeeper({
      log: this.#memoryLog,
      wal: options.wal,
      engine: options.engine,
      limits: this.limits,
      hold: () => this.#snapshotter.holdIndex(),
    });
  }

  get machine(): StateMachine {
    return this.#machine;
  }

  get soft(): SoftState {
    return this.#soft;
  }

  get isLeader(): boolean {
    return this.#soft.role === 'leader';
  }

  get applied(): number {
    return this.#applyLoop.applied;
  }

  get pendingWrites(): number {
    return this.#proposer.pending;
  }

  counters(): MemberCounters {
    return {
      leaderChanges: this.#leaderChanges,
      proposalsFailed: this.#proposer.failed,
      proposalsCommitted: this.#committed,
      proposalsApplied: this.#appliedCommands,
      slowReadRounds: this.#reads.slowRounds,
      leasesExpired: this.#lessor.expiredTotal,
      snapshotsSent: this.#snapshotter.sent,
      snapshotsFailed: this.#snapshotter.failed,
    };
  }

  /** Why writes are refused (a full disk), or `undefined`. */
  get diskFull(): string | undefined {
    return this.#persister.stalledBy?.message;
  }

  get lessor(): Lessor {
    return this.#lessor;
  }

  raftStatus(): ReturnType<RaftNode['status']> {
    return this.#raft.status();
  }

  connectedForMs(peer: NodeId): number | undefined {
    return this.#options.transport.connectedForMs(peer);
  }

  header(revision: number | undefined): ResponseHeader {
    const base = { clusterId: this.clusterId, memberId: this.id, raftTerm: this.#soft.term };
    return revision === undefined ? base : { ...base, revision };
  }

  start(): void {
    assert(this.#state === 'new', 'a member starts once');
    if (!this.#startOver) return this.#run();
    const { meta, hardState } = this.#startOver;
    this.#options.wal.reset(meta.index, meta.term, hardState, (error) => {
      if (error) this.#options.onFatal(error);
      else this.#run();
    });
  }

  #run(): void {
    this.#state = 'running';
    this.#options.transport.onEvent((event) => this.#onPeerEvent(event));
    this.#setPeers();
    const { voters } = this.#applyLoop.meta.confState;
    if (voters.length === 1 && voters[0] === this.id) this.#raft.campaign();
    this.#lastTickMs = this.clock.nowMs();
    this.#scheduleTick();
    this.#wake();
  }

  /**
   * Stops in order: a leader hands leadership over first, then callers are told, the log and the engine are synced.
   * The ports that were passed in are the caller's to close.
   */
  stop(done: () => void): void {
    if (this.#state !== 'running') return done();
    this.handOver(() => {
      this.#state = 'stopping';
      const stopped = new KvError('STOPPED');
      this.hub.closeAll('STOPPED');
      this.#proposer.failAll(stopped);
      this.#reads.failAll(stopped);
      this.#link.failAll(stopped);
      if (this.#tickTimer) this.clock.cancel(this.#tickTimer);
      this.engine.flush((error) => {
        if (error) this.#options.log('error', 'the last flush failed', { error: error.message });
        this.#state = 'stopped';
        done();
      });
    });
  }

  /**
   * Replicates one command; `done` gets what its apply gave, on this member, or why it could not be known. Refused at
   * once when a bound is reached or the disk is full. A write without a leader waits for one until its deadline; one
   * that a leader change swallowed is proposed again.
   */
  submit(command: Command, timeoutMs: number | undefined, done: WriteDone): void {
    if (this.#proposer.submit(command, this.#timeout(timeoutMs), this.#refusal(), done)) this.#wake();
  }

  /** Calls `done` once a local read is linearizable. */
  read(timeoutMs: number | undefined, done: (error: KvError | undefined) => void): void {
    if (this.#state !== 'running') return done(new KvError('STOPPED'));
    const limited = this.#timeout(timeoutMs);
    const added = this.#reads.add({ deadlineMs: this.clock.nowMs() + limited, done });
    if (!added) return done(new KvError('TOO_MANY_REQUESTS'));
    this.#wake();
  }

  /** Asks whoever leads. */
  callLeader(
    call: LeaderCall,
    timeoutMs: number | undefined,
    done: (answer: LeaderAnswer | undefined, error: KvError | undefined) => void,
  ): void {
    if (this.#state !== 'running') return done(undefined, new KvError('STOPPED'));
    const limited = this.#timeout(timeoutMs);
    this.#link.call(call, this.clock.nowMs() + limited, done);
  }

  /** Runs `done` once no compaction is under way. */
  whenCompacted(done: () => void): void {
    if (!this.#machine.compactionPending) return done();
    this.#onCompacted.push(done);
  }

  /** Hands leadership to `target`; `done` says whether it leads now. Only on the leader. */
  transferLeadership(target: NodeId, timeoutMs: number, done: (leads: boolean) => void): void {
    this.#handOver.transfer(target, timeoutMs, done);
    this.#wake();
  }

  /** Makes another voter lead, if this member does and there is one; `done` comes when it does, or after a time. */
  handOver(done: () => void): void {
    const target = this.isLeader ? this.#handOver.successor() : undefined;
    if (target === undefined) return done();
    this.#options.log('info', 'handing leadership over', { to: target.toString(16) });
    this.transferLeadership(target, this.#options.electionMs, (leads) => {
      if (!leads) this.#options.log('warn', 'leadership was not handed over', { to: target.toString(16) });
      done();
    });
  }

  // --- the pump ---

  #wake(): void {
    if (this.#scheduled || this.#state === 'new' || this.#state === 'stopped') return;
    this.#scheduled = true;
    this.clock.defer(() => {
      this.#scheduled = false;
      if (this.#state === 'stopped') return;
      try {
        this.#turn();
      } catch (error) {
        this.#options.onFatal(error as Error);
      }
    });
  }

  #turn(): void {
    if (this.#installing) return;
    if (this.#soft.leader !== NONE) this.#proposer.proposeQueued();
    this.#reads.start(this.clock.nowMs());
    for (let round = 0; ; round++) {
      while (this.#raft.hasReady && !this.#installing) this.#handle(this.#raft.takeReady());
      if (this.#installing) return;
      const more = this.#applyBatch();
      if (!more && !this.#raft.hasReady) break;
      if (round >= 3) return this.#wake();
    }
    this.#compactSlice();
    this.#keeper.run();
  }

  #handle(ready: Ready): void {
    if (ready.softState) this.#onSoftState(ready.softState);
    if (ready.snapshot) {
      this.#install(ready);
      return;
    }
    this.#send(ready.messages);
    this.#committed += ready.committedEntries.length;
    this.#applyLoop.push(ready.committedEntries);
    for (const { context, index } of ready.readStates) this.#reads.onIndex(context, index, this.applied);
    this.#persister.persist(ready);
  }

  #onPersisted(ready: Ready): void {
    if (ready.snapshot) return this.#onInstalled(ready);
    if (ready.entries.length > 0) this.#memoryLog.append(ready.entries);
    this.#raft.onPersisted(ready.number);
    this.#send(ready.messagesAfterPersist);
    this.#wake();
  }

  #send(messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.type === 'snapshot') this.#snapshotter.send(message);
      else if (!this.#options.transport.send(message.to, { type: 'raft', message })) this.#onUnsent(message);
    }
  }

  #onUnsent(message: Message): void {
    if (message.type === 'append') this.#raft.reportUnreachable(message.to);
    if (message.type === 'propose') this.#proposer.onUnsent(message.entries);
  }

  #applyBatch(): boolean {
    if (this.engine.pendingBytes > this.limits.engineBacklogBytesMax) {
      this.#waitForEngine();
      return false;
    }
    return this.#applyLoop.run();
  }

  #waitForEngine(): void {
    if (this.#waitingForEngine) return;
    this.#waitingForEngine = true;
    this.engine.flush((error) => {
      this.#waitingForEngine = false;
      if (error) this.#options.log('error', 'the engine cannot write', { error: error.message });
      else this.#wake();
    });
  }

  #compactSlice(): void {
    if (!this.#machine.compactionPending) return;
    const finished = this.#machine.compactStep();
    this.#machine.flushMeta();
    this.engine.commit(this.applied);
    if (!finished) return this.#wake();
    const waiters = this.#onCompacted;
    this.#onCompacted = [];
    for (const waiter of waiters) waiter();
  }

  // --- what raft and the log report ---

  #onSoftState(soft: SoftState): void {
    const before = this.#soft;
    this.#soft = soft;
    if (soft.role !== 'leader' && this.#lessor.primary) this.#lessor.demote();
    if (soft.leader === before.leader) return;
    this.#options.log('info', 'leader changed', {
      from: before.leader.toString(16),
      to: soft.leader.toString(16),
      term: soft.term,
    });
    if (before.leader !== NONE) this.#proposer.noteLeaderLoss();
    if (soft.leader !== NONE) this.#leaderChanges++;
    this.#proposer.retryUnsent();
    this.#reads.restartRounds();
    this.#link.onLeaderChange();
    this.#handOver.onChange();
    this.#wake();
  }

  #onNewTerm(term: number): void {
    this.#proposer.onNewTerm(term);
    if (this.isLeader && this.#soft.term === term) {
      this.#lessor.promote();
      this.#link.onLeaderChange();
    }
    this.#wake();
  }

  #onCommand(command: Command, outcome: ApplyOutcome, sequence: number): void {
    this.#appliedCommands++;
    if (!outcomeError(outcome)) {
      if (command.type === 'leaseGrant') {
        const granted = this.#machine.leases.get(command.id);
        if (granted) this.#lessor.onGranted(command.id, granted.ttlSeconds);
      } else if (command.type === 'leaseRevoke') {
        this.#lessor.onRevoked(command.id);
      }
    }
    if (sequence !== 0) this.#proposer.complete(sequence, outcome);
  }

  #onPeerEvent(event: PeerEvent): void {
    if (this.#state !== 'running') return;
    switch (event.type) {
      case 'message':
        if (event.message.type === 'raft') this.#raft.step(event.message.message);
        else if (event.message.type === 'request')
          this.#link.onRequest(event.from, event.message.id, event.message.body);
        else this.#link.onResponse(event.from, event.message.id, event.message.body);
        break;
      case 'snapshotReceived':
        this.#received.clear();
        this.#received.set(event.message.snapshot.index, event.name);
        this.#raft.step(event.message);
        break;
      case 'disconnected':
        if (event.reset) this.#raft.leaderGone(event.peer);
        this.#raft.reportUnreachable(event.peer);
        this.#handOver.onChange();
        break;
      case 'connected':
        break;
    }
    this.#wake();
  }

  // --- snapshots ---

  #install(ready: Ready): void {
    const meta = ready.snapshot;
    assert(meta, 'only a Ready with a snapshot is installed');
    const name = this.#received.get(meta.index);
    assert(name !== undefined, () => `raft wants snapshot ${meta.index} installed, which was not received`);
    this.#installing = true;
    this.#options.log('info', 'installing a snapshot', { index: meta.index, name });
    this.#persister.whenIdle(() =>
      this.#options.snapshots.install(name, (error) => {
        if (error) return this.#options.onFatal(error);
        this.#machine = openMachine(this.#options);
        this.#applyLoop.restart(this.#machine, meta);
        this.#memoryLog.reset(meta.index, meta.term);
        this.#proposer.forbidRetry();
        this.#persister.reset(ready, meta.index, meta.term);
      }),
    );
  }

  #onInstalled(ready: Ready): void {
    this.#installing = false;
    this.#received.clear();
    this.#options.snapshots.prune(this.limits.snapshotsKept);
    this.#raft.onPersisted(ready.number);
    this.#send(ready.messages);
    this.#send(ready.messagesAfterPersist);
    this.#setPeers();
    this.hub.reset();
    this.#reads.onApplied(this.applied);
    this.#wake();
  }

  // --- time ---

  #scheduleTick(): void {
    this.#tickTimer = this.clock.schedule(this.#options.heartbeatMs, () => {
      if (this.#state !== 'running') return;
      const now = this.clock.nowMs();
      const since = now - this.#lastTickMs;
      this.#lastTickMs = now;
      this.#raft.tick();
      this.#proposer.expire(now);
      this.#proposer.retryUnsent();
      this.#reads.sweep(now);
      this.#link.sweep(now);
      this.#lessor.tick(since);
      this.#persister.retry();
      if (this.#soft.leader !== NONE && !this.#installing) this.#publisher.run(this.#machine.members());
      this.#wake();
      this.#scheduleTick();
    });
  }

  // --- parts ---

  #refusal(): KvError | undefined {
    if (this.#state !== 'running') return new KvError('STOPPED');
    const full = this.#persister.stalledBy;
    if (full) return new KvError('DISK_FULL', { detail: full.message });
    if (this.#applyLoop.queued > this.limits.applyLagMax) return new KvError('TOO_MANY_REQUESTS');
    return undefined;
  }

  #timeout(askedMs: number | undefined): number {
    return Math.min(askedMs ?? this.requestTimeoutMs, this.requestTimeoutMs);
  }

  #setPeers(): void {
    const peers = new Map<NodeId, readonly string[]>();
    for (const member of this.#machine.members()) {
      if (member.id !== this.id) peers.set(member.id, member.peerUrls);
    }
    this.#options.transport.setPeers(peers);
  }

  #propose(command: Command, done: (error: KvError | undefined) => void): void {
    this.submit(command, undefined, (outcome, error) => done(error ?? (outcome && outcomeError(outcome))));
  }

  #makeLessor(): Lessor {
    return new Lessor({
      clock: this.clock,
      leases: () => this.#machine.leases,
      propose: (command, done) => this.#propose(command, done),
      limits: this.limits,
      electionTimeoutMs: this.#options.electionMs,
    });
  }

  #makeLink(): LeaderLink {
    const answers = new LeaderAnswers({
      lessor: this.#lessor,
      machine: () => this.#machine,
      read: (done) => this.read(undefined, done),
    });
    return new LeaderLink({
      clock: this.clock,
      transport: this.#options.transport,
      self: this.id,
      leader: () => this.#soft.leader,
      answerHere: (call, done) => answers.answer(call, done),
      countMax: this.limits.forwardedMax,
      retryMs: this.limits.readIndexRetryMs,
    });
  }

  #makeSnapshotter(): Snapshotter {
    return new Snapshotter({
      store: this.#options.snapshots,
      transport: this.#options.transport,
      log: this.#options.log,
      keep: this.limits.snapshotsKept,
      report: (to, ok) => {
        this.#raft.reportSnapshot(to, ok);
        this.#wake();
      },
    });
  }

  #makeApplyLoop(meta: ReturnType<typeof openRaftState>['meta']): ApplyLoop {
    return new ApplyLoop({
      engine: this.engine,
      machine: this.#machine,
      self: this.id,
      meta,
      batchMax: this.limits.applyBatchMax,
      listener: {
        onConfig: (entry) => {
          const confState = this.#raft.applyConfChange(decodeConfChange(entry.data));
          return confState;
        },
        onNewTerm: (term) => this.#onNewTerm(term),
        onRevision: (revision, events) => this.hub.publish(revision, events),
        onCommand: (command, outcome, sequence) => this.#onCommand(command, outcome, sequence),
        onApplied: (index) => {
          this.#raft.onApplied(index);
          this.#reads.onApplied(index);
        },
      },
    });
  }
}
