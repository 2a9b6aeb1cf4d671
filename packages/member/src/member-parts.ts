/** How the parts of a member are made from what it was given. */
import type { Command, HashKvResult, StateMachine } from '@muster/kv';
import type { MemoryLog, NodeId, RaftNode, SnapshotMeta } from '@muster/raft';
import { Admission } from './admission.ts';
import { EngineGate } from './engine-gate.ts';
import { HandOver } from './hand-over.ts';
import { Installer } from './installer.ts';
import { LeaderAnswers } from './leader-answers.ts';
import { LeaderLink } from './leader-link.ts';
import { Lessor } from './lessor.ts';
import type { MemberLimits } from './limits.ts';
import { followersIndex, LogKeeper } from './log-keeper.ts';
import type { MemberOptions } from './member-options.ts';
import { isCaughtUp } from './membership-checks.ts';
import type { Persister } from './persister.ts';
import { Proposer } from './proposer.ts';
import { Publisher } from './publisher.ts';
import type { RaftStart } from './raft-state.ts';
import { Snapshotter } from './snapshotter.ts';

type KvErrorDone = Parameters<ConstructorParameters<typeof Lessor>[0]['propose']>[1];

/** What every part may look at. */
type PartsContext = {
  readonly options: MemberOptions;
  readonly limits: MemberLimits;
  readonly raft: RaftNode;
  readonly machine: () => StateMachine;
  readonly leader: () => NodeId;
  /** Where numbers begin that this member recognises answers by: each of its lives elsewhere. */
  readonly firstNumber: () => number;
  readonly wake: () => void;
};

export class MemberParts {
  readonly #c: PartsContext;

  constructor(context: PartsContext) {
    this.#c = context;
  }

  proposer(handOver: HandOver): Proposer {
    const { raft, options, limits, firstNumber } = this.#c;
    return new Proposer({
      raft,
      clock: options.clock,
      limits,
      firstSequence: firstNumber(),
      beforeChange: (steps) => handOver.beforeChange(steps),
    });
  }

  handOver(): HandOver {
    const { clock, electionMs, log } = this.#c.options;
    return new HandOver({ raft: this.#c.raft, clock, connected: this.#isConnected, electionMs, log });
  }

  publisher(propose: (command: Command, done: KvErrorDone) => void): Publisher {
    const { options, wake } = this.#c;
    return new Publisher({
      id: options.id,
      name: options.name,
      clientUrls: options.clientUrls,
      propose: (command, done) =>
        propose(command, (error) => {
          done(error === undefined);
          // Reads wait for it.
          wake();
        }),
    });
  }

  lessor(propose: (command: Command, done: KvErrorDone) => void): Lessor {
    const { options, limits, machine } = this.#c;
    return new Lessor({
      clock: options.clock,
      leases: () => machine().leases,
      propose,
      limits,
      electionTimeoutMs: options.electionMs,
    });
  }

  link(parts: {
    readonly lessor: Lessor;
    readonly hashKv: (revision: number) => Promise<HashKvResult>;
    readonly read: (done: KvErrorDone) => void;
  }): LeaderLink {
    const { options, limits, machine, leader, firstNumber, raft } = this.#c;
    const answers = new LeaderAnswers({
      ...parts,
      machine,
      applied: () => raft.status().applied,
      learnerReady: (id) => this.#learnerReady(id),
    });
    return new LeaderLink({
      clock: options.clock,
      transport: options.transport,
      self: options.id,
      leader,
      answerHere: (call, done) => answers.answer(call, done),
      countMax: limits.forwardedMax,
      retryMs: limits.readIndexRetryMs,
      firstId: firstNumber(),
    });
  }

  snapshotter(): Snapshotter {
    const { options, limits, raft, wake } = this.#c;
    return new Snapshotter({
      store: options.snapshots,
      transport: options.transport,
      clock: options.clock,
      prng: options.prng,
      log: options.log,
      keep: limits.snapshotsKept,
      report: (to, ok) => {
        raft.reportSnapshot(to, ok);
        wake();
      },
    });
  }

  installer(persister: Persister, onReplaced: (meta: SnapshotMeta) => void): Installer {
    const { options, limits } = this.#c;
    return new Installer({
      store: options.snapshots,
      persister,
      log: options.log,
      keep: limits.snapshotsKept,
      onReplaced,
      onFatal: (error) => options.onFatal(error),
    });
  }

  gate(): EngineGate {
    const { options, limits, wake } = this.#c;
    return new EngineGate({
      engine: options.engine,
      maxBytes: limits.engineBacklogBytesMax,
      onFailure: ({ message }) => options.log('error', 'the engine cannot write', { error: message }),
      wake,
    });
  }

  admission(start: RaftStart, onAdmitted: () => void): Admission {
    const { options, firstNumber } = this.#c;
    const joined = options.joining?.filter((member) => !member.isLearner).map(({ id }) => id);
    return new Admission({
      self: options.id,
      voters: joined ?? start.meta.confState.voters,
      isEmpty: start.log.lastIndex === 0,
      transport: options.transport,
      clock: options.clock,
      graceMs: options.electionMs,
      requestId: firstNumber(),
      onAdmitted,
      onRefused: (error) => options.onFatal(error),
    });
  }

  keeper(log: MemoryLog, snapshotter: Snapshotter): LogKeeper {
    const { options, limits, raft } = this.#c;
    return new LogKeeper({
      log,
      wal: options.wal,
      engine: options.engine,
      limits,
      hold: () => Math.min(snapshotter.holdIndex(), followersIndex(raft, this.#isConnected)),
    });
  }

  readonly #isConnected = (peer: NodeId): boolean =>
    this.#c.options.transport.connectedForMs(peer) !== undefined;

  #learnerReady(id: NodeId): boolean {
    const { peers, stableIndex } = this.#c.raft.status();
    const learner = peers.find((peer) => peer.id === id);
    return learner !== undefined && isCaughtUp(learner.match, stableIndex);
  }
}
