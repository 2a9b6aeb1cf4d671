import { assert, type Clock, type Prng, type Timer } from '@muster/base';
import { KvError } from '@muster/contract';
import {
  type ApplyOutcome,
  type Command,
  type Engine,
  hashKvOfView,
  type Origin,
  type ResponseHeader,
  type StateMachine,
  type WatchHub,
} from '@muster/kv';
import {
  type MemoryLog,
  type Message,
  NONE,
  type NodeId,
  type RaftNode,
  type Ready,
  type SnapshotMeta,
  type SoftState,
} from '@muster/raft';
import type { Admission } from './admission.ts';
import { ApplyLoop } from './apply-loop.ts';
import { Compactions } from './compactions.ts';
import type { EngineGate } from './engine-gate.ts';
import type { HandOver } from './hand-over.ts';
import { hashed } from './hashing.ts';
import type { Installer } from './installer.ts';
import { Intake } from './intake.ts';
import type { LeaderAnswer, LeaderCall } from './leader-calls.ts';
import type { LeaderLink } from './leader-link.ts';
import { LeaderWatchdog } from './leader-watchdog.ts';
import type { Lessor } from './lessor.ts';
import { checkLimits, DEFAULT_LIMITS, type MemberLimits } from './limits.ts';
import type { LogKeeper } from './log-keeper.ts';
import type { MemberCounters, MemberOptions } from './member-options.ts';
import { MemberParts } from './member-parts.ts';
import { confChangeSteps, Membership } from './membership.ts';
import { PeerCalls } from './peer-calls.ts';
import { peerEvents } from './peer-events.ts';
import { Persister } from './persister.ts';
import type { Proposer, WriteDone } from './proposer.ts';
import type { Publisher } from './publisher.ts';
import { openRaft, openRaftState, type RaftStart, startAlone } from './raft-state.ts';
import { ReadBarrier } from './read-barrier.ts';
import { followTokens, SimpleTokens, TOKEN_TTL_SECONDS } from './simple-tokens.ts';
import type { Snapshotter } from './snapshotter.ts';
import { makeHub, openMachine } from './state.ts';
import { Tallies } from './tallies.ts';
import { reasonAgainstWatch } from './watch-rights.ts';

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
  /** Seconds that a lease lives at least, where it is granted through this member. */
  readonly minLeaseTtlSeconds: number;
  readonly hub: WatchHub;
  readonly tokens: SimpleTokens;
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
  readonly #tallies: Tallies;
  readonly #proposer: Proposer;
  readonly #reads: ReadBarrier;
  readonly #link: LeaderLink;
  readonly #peerCalls: PeerCalls;
  readonly #lessor: Lessor;
  readonly #publisher: Publisher;
  readonly #snapshotter: Snapshotter;
  readonly #keeper: LogKeeper;
  readonly #handOver: HandOver;
  readonly #installer: Installer;
  readonly #compactions: Compactions;
  readonly #gate: EngineGate;
  readonly #admission: Admission;
  readonly #intake: Intake;
  readonly membership: Membership;
  readonly watchdog: LeaderWatchdog;
  #machine: StateMachine;
  #soft: SoftState;
  #scheduled = false;
  #state: 'new' | 'running' | 'stopping' | 'stopped' = 'new';
  #tickTimer: Timer | undefined;
  #lastTickMs = 0;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.id = options.id;
    this.clusterId = options.clusterId;
    this.limits = checkLimits({ ...DEFAULT_LIMITS, ...options.limits });
    this.requestTimeoutMs = 5000 + 2 * options.electionMs;
    // etcd's minimum: one and a half election timeouts, in whole seconds.
    this.minLeaseTtlSeconds = Math.ceil((1.5 * options.electionMs) / 1000);
    this.engine = options.engine;
    this.clock = options.clock;
    this.prng = options.prng;
    this.#machine = openMachine(this.#options);
    const found = openRaftState(options, this.#machine);
    const start = options.forceNewCluster ? startAlone(found, options, this.#machine) : found;
    this.#memoryLog = start.log;
    this.#startOver = start.resetLog ? start : undefined;
    this.#raft = openRaft(options, start, () => this.#applyLoop.meta);
    const parts = new MemberParts({
      options,
      limits: this.limits,
      raft: this.#raft,
      machine: () => this.#machine,
      leader: () => this.#soft.leader,
      firstNumber: () => this.#randomStart(),
      wake: () => this.#wake(),
    });
    this.#handOver = parts.handOver();
    this.#soft = { role: 'follower', leader: NONE, term: start.hardState.term };
    this.hub = makeHub(options, {
      machine: () => this.#machine,
      header: (revision) => this.header(revision),
    });
    this.tokens = new SimpleTokens(options.clock, options.tokenTtlSeconds ?? TOKEN_TTL_SECONDS);
    this.#proposer = parts.proposer(this.#handOver);
    this.#persister = new Persister({
      wal: options.wal,
      hardState: start.hardState,
      onPersisted: (ready) => this.#onPersisted(ready),
      onFatal: (error) => options.onFatal(error),
    });
    this.#tallies = new Tallies(options);
    this.#applyLoop = this.#makeApplyLoop(start.meta);
    this.#reads = new ReadBarrier({
      ask: (context) =>
        this.#soft.leader !== NONE && this.#publisher.known && this.#raft.readIndex(context).accepted,
      countMax: this.limits.pendingReadsMax,
      retryMs: this.limits.readIndexRetryMs,
      firstContext: this.#randomStart(),
    });
    this.#lessor = parts.lessor((command, done) => this.#intake.proposeAsLeader(command, done));
    this.#link = parts.link({
      lessor: this.#lessor,
      hashKv: (revision) => hashed(this, (view) => hashKvOfView(view, revision)),
      read: (done) => this.read(undefined, done),
    });
    this.#peerCalls = new PeerCalls({ ...options, firstId: this.#randomStart() });
    this.#publisher = parts.publisher((command, done) => this.#intake.propose(command, done));
    this.#snapshotter = parts.snapshotter();
    this.#installer = parts.installer(this.#persister, (meta) => {
      this.#machine = openMachine(options);
      this.#applyLoop.restart(this.#machine, meta);
      this.#memoryLog.reset(meta.index, meta.term);
      this.#proposer.forbidRetry();
    });
    this.#gate = parts.gate();
    this.#compactions = new Compactions(this.engine, () => this.#machine, this.#tallies);
    this.#admission = parts.admission(start, () => this.#onAdmitted());
    this.#intake = new Intake({
      raft: this.#raft,
      clock: options.clock,
      proposer: this.#proposer,
      reads: this.#reads,
      link: this.#link,
      timeoutMs: this.requestTimeoutMs,
      refusal: (isWrite) => this.#refusal(isWrite),
      wake: () => this.#wake(),
    });
    this.membership = new Membership(options, {
      machine: () => this.#machine,
      onRemoved: () => this.#onRemoved(),
    });
    this.watchdog = new LeaderWatchdog({
      electionMs: options.electionMs,
      hasLeader: () => this.#soft.leader !== NONE,
      header: () => this.header(this.#machine.currentRevision),
    });
    this.#keeper = parts.keeper(this.#memoryLog, this.#snapshotter);
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

  /** Has no vote yet; answers little. */
  get isLearner(): boolean {
    return this.#raft.confState.learners.includes(this.id);
  }

  get applied(): number {
    return this.#applyLoop.applied;
  }

  get pendingWrites(): number {
    return this.#proposer.pending;
  }

  counters(): MemberCounters {
    return {
      proposalsFailed: this.#proposer.failed,
      slowReadRounds: this.#reads.slowRounds,
      readRoundsFailed: this.#reads.failedRounds,
      leasesExpired: this.#lessor.expiredTotal,
      leasesRenewed: this.#lessor.renewedTotal,
      snapshotsSent: this.#snapshotter.sent,
      snapshotsFailed: this.#snapshotter.failed,
      snapshotsReceived: this.#installer.receivedTotal,
      snapshotsInstalling: this.#installer.busy ? 1 : 0,
      ...this.#tallies.counts,
    };
  }

  /** Why writes are refused (a full disk), or `undefined`. */
  get diskFull(): string | undefined {
    return (this.#persister.stalledBy ?? this.#gate.failure)?.message;
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
    const failed = (error: Error) => this.#options.onFatal(error);
    // What the log held must be in the engine for good before the log lets go of it.
    this.engine.flush((error) => {
      if (error) return failed(error);
      this.#options.wal.reset(meta.index, meta.term, hardState, (problem) => {
        if (problem) failed(problem);
        else this.#run();
      });
    });
  }

  #run(): void {
    this.#state = 'running';
    const onPeerEvent = peerEvents({
      raft: this.#raft,
      link: this.#link,
      calls: this.#peerCalls,
      admission: this.#admission,
      installer: this.#installer,
      handOver: this.#handOver,
      membership: this.membership,
      isFull: () => this.#memoryLog.byteSize > this.limits.logBytesMax,
    });
    this.#options.transport.onEvent((event) => {
      if (this.#state !== 'running') return;
      onPeerEvent(event);
      this.#wake();
    });
    this.membership.refresh();
    this.#lastTickMs = this.clock.nowMs();
    this.#scheduleTick();
    if (this.#admission.admitted) this.#onAdmitted();
    else this.#admission.ask();
  }

  #onAdmitted(): void {
    const { voters } = this.#applyLoop.meta.confState;
    if (voters.length === 1 && voters[0] === this.id) this.#raft.campaign();
    this.#wake();
  }

  /**
   * Stops in order: a leader hands leadership over first, then callers are told, the log and the engine are synced.
   * The ports that were passed in are the caller's to close.
   */
  stop(done: () => void): void {
    if (this.#state !== 'running') return done();
    this.handOver(() => this.#installer.whenIdle(() => this.#stop(done)));
  }

  #stop(done: () => void): void {
    if (this.#state !== 'running') return done();
    this.#state = 'stopping';
    const stopped = new KvError('STOPPED');
    this.hub.closeAll('STOPPED');
    this.#proposer.failAll(stopped);
    this.#reads.failAll(stopped);
    this.#link.failAll(stopped);
    this.#peerCalls.failAll(stopped);
    if (this.#tickTimer) this.clock.cancel(this.#tickTimer);
    this.engine.flush((error) => {
      if (error) this.#options.log('error', 'the last flush failed', { error: error.message });
      this.#state = 'stopped';
      done();
    });
  }

  /**
   * Replicates one command; `done` gets what its apply gave, on this member, or why it could not be known. Refused at
   * once when a bound is reached or the disk is full. A write without a leader waits for one until its deadline; one
   * that a leader change swallowed is proposed again.
   */
  submit(
    command: Command,
    timeoutMs: number | undefined,
    done: WriteDone,
    origin: Origin = 'internal',
  ): void {
    this.#intake.submit(command, timeoutMs, done, origin);
  }

  /** Calls `done` once a local read is linearizable. */
  read(timeoutMs: number | undefined, done: (error: KvError | undefined) => void): void {
    this.#intake.read(timeoutMs, done);
  }

  /** Asks whoever leads. */
  callLeader(
    call: LeaderCall,
    timeoutMs: number | undefined,
    done: (answer: LeaderAnswer | undefined, error: KvError | undefined) => void,
  ): void {
    this.#intake.callLeader(call, timeoutMs, done);
  }

  /** Asks one other member; refused as `TIMEOUT` when it does not answer. */
  callPeer(...call: Parameters<PeerCalls['call']>): void {
    this.#peerCalls.call(...call);
  }

  /** Runs `done` once no compaction is under way. */
  whenCompacted(done: () => void): void {
    this.#compactions.whenDone(done);
  }

  /** Hands leadership to `target`; `done` says whether it leads now. Only on the leader. */
  transferLeadership(target: NodeId, timeoutMs: number, done: (leads: boolean) => void): void {
    this.#handOver.transfer(target, timeoutMs, done);
    this.#wake();
  }

  /** Makes another voter lead, if this member does and there is one; `done` comes when it does, or after a time. */
  handOver(done: () => void): void {
    this.#handOver.toAnother(done);
    this.#wake();
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
    if (this.#installer.busy) return;
    if (this.#publisher.fresh) this.#publish();
    if (this.#soft.leader !== NONE) this.#proposer.proposeQueued();
    this.#reads.start(this.clock.nowMs());
    for (let round = 0; ; round++) {
      while (this.#raft.hasReady && !this.#installer.busy) this.#handle(this.#raft.takeReady());
      if (this.#installer.busy) return;
      // Nobody watches: what is applied in this turn reaches no watch, and its previous values need not be read.
      this.#machine.wantPrevValues = this.hub.active;
      const more = this.#gate.open() && this.#tallies.applying(() => this.#applyLoop.run());
      if (!more && !this.#raft.hasReady) break;
      if (round >= 3) return this.#wake();
    }
    if (this.#compactions.step(this.applied)) this.#wake();
    this.#keeper.run();
  }

  #handle(ready: Ready): void {
    if (ready.softState) this.#onSoftState(ready.softState);
    if (ready.snapshot) return this.#installer.install(ready);
    this.#send(ready.messages);
    this.#tallies.counts.proposalsCommitted += ready.committedEntries.length;
    this.#applyLoop.push(ready.committedEntries);
    for (const { context, index } of ready.readStates) this.#reads.onIndex(context, index, this.applied);
    for (const { context, reason } of ready.refusedProposals) this.#proposer.onRefused(context, reason);
    this.#persister.persist(ready);
  }

  #onPersisted(ready: Ready): void {
    if (ready.snapshot) return this.#onInstalled(ready, ready.snapshot);
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
    if (message.type === 'propose') this.#proposer.onUnsent(message.context);
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
    if (soft.leader !== NONE) this.#tallies.counts.leaderChanges++;
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
    this.#tallies.onApplied(command, outcome, sequence !== 0);
    const result = 'result' in outcome ? outcome.result : outcome.applied;
    if (result) {
      followTokens(this.tokens, command, result);
      if (command.type === 'leaseGrant') {
        const granted = this.#machine.leases.get(command.id);
        if (granted) this.#lessor.onGranted(command.id, granted.ttlSeconds);
      } else if (command.type === 'leaseRevoke') {
        this.#lessor.onRevoked(command.id);
      }
    }
    if (sequence !== 0) this.#proposer.complete(sequence, outcome);
    if (confChangeSteps(command) || command.type === 'memberUpdate') this.#onMembers();
  }

  /** The members changed, or a change of them was over without effect: another one may follow. */
  #onMembers(): void {
    this.membership.refresh();
    this.#proposer.retryUnsent();
    this.#handOver.onChange();
    this.#wake();
  }

  #onRemoved(): void {
    if (this.#state !== 'running') return;
    const stopped = new KvError('STOPPED');
    this.#proposer.failAll(stopped);
    this.#reads.failAll(stopped);
    this.#link.failAll(stopped);
    this.#peerCalls.failAll(stopped);
    this.#options.onRemoved();
  }

  #revokeWatches(): void {
    this.hub.revoke((holder, range) => reasonAgainstWatch(this.#machine.auth, holder, range));
  }

  // --- snapshots ---

  #onInstalled(ready: Ready, meta: SnapshotMeta): void {
    this.#installer.finish(meta);
    this.#raft.onPersisted(ready.number);
    this.#send(ready.messages);
    this.#send(ready.messagesAfterPersist);
    this.membership.refresh();
    // What the image passed over may have ended tokens and rights.
    this.tokens.clear();
    this.#revokeWatches();
    this.hub.reset();
    this.#reads.onApplied(this.applied);
    this.#compactions.settle();
    this.#wake();
  }

  // --- time ---

  #scheduleTick(): void {
    this.#tickTimer = this.clock.schedule(this.#options.heartbeatMs, () => {
      if (this.#state !== 'running') return;
      const now = this.clock.nowMs();
      const since = now - this.#lastTickMs;
      this.#lastTickMs = now;
      this.#tallies.onTick(since, this.isLeader);
      if (this.#admission.admitted) this.#raft.tick();
      else this.#admission.ask();
      this.#proposer.expire(now);
      this.#proposer.retryUnsent();
      this.#reads.sweep(now);
      this.#link.sweep(now);
      this.#peerCalls.sweep(now);
      this.#lessor.tick(since);
      this.watchdog.tick(now);
      if (this.isLeader && this.diskFull !== undefined) this.#handOver.giveUp();
      this.#persister.retry();
      this.#publish();
      this.#wake();
      this.#scheduleTick();
    });
  }

  /** Only with entries in the log: an empty one would be taken for lost after this. */
  #publish(): void {
    if (this.#soft.leader === NONE || this.applied === 0 || this.#installer.busy) return;
    this.#publisher.run(this.#machine.members());
  }

  // --- parts ---

  #refusal(isWrite: boolean): KvError | undefined {
    if (this.#state !== 'running' || this.membership.removed) return new KvError('STOPPED');
    if (!isWrite) return undefined;
    const full = this.diskFull;
    if (full !== undefined) return new KvError('DISK_FULL', { detail: full });
    return this.#applyLoop.queued > this.limits.applyLagMax ? new KvError('TOO_MANY_REQUESTS') : undefined;
  }

  /** Where numbers begin that this member recognises answers by: each of its lives elsewhere. */
  #randomStart(): number {
    return this.prng.uint32() * 2 ** 20;
  }

  #makeApplyLoop(meta: ReturnType<typeof openRaftState>['meta']): ApplyLoop {
    return new ApplyLoop({
      engine: this.engine,
      machine: this.#machine,
      self: this.id,
      meta,
      batchMax: this.limits.applyBatchMax,
      listener: {
        onConfig: (change) => this.#raft.applyConfChange(change),
        onNewTerm: (term) => this.#onNewTerm(term),
        onRevision: (revision, events) => this.hub.publish(revision, events),
        onCommand: (command, outcome, sequence) => this.#onCommand(command, outcome, sequence),
        onAuthChange: () => this.#revokeWatches(),
        onApplied: (index) => {
          this.#raft.onApplied(index);
          this.#reads.onApplied(index);
        },
      },
    });
  }
}
