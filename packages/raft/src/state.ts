import type { Prng } from '@muster/base';
import type { ResolvedConfig } from './config.ts';
import { Inflights } from './inflights.ts';
import { GONE_RETRY_JITTER_TICKS, GONE_RETRY_TICKS } from './limits.ts';
import { RaftLog } from './log.ts';
import { isVoter, memberIds } from './membership.ts';
import { type ConfState, type HardState, type Message, NONE, type NodeId } from './messages.ts';
import { Progress } from './progress.ts';
import { ReadOnly } from './read-only.ts';
import type { ReadState, RefusedProposal, Role } from './ready.ts';

/** A pre-vote request that came while the leader seemed alive. */
type DeferredPreVote = { readonly message: Message & { readonly type: 'preVote' }; ticksLeft: number };

/**
 * Everything a node knows. The role modules work on it; only `RaftNode` is seen from outside. Invariants: `term`
 * never falls; `vote` changes only from NONE within a term; role leader implies leader === id; the progress map
 * has exactly the members of `conf`.
 */
export class RaftState {
  readonly id: NodeId;
  readonly config: ResolvedConfig;
  readonly prng: Prng;
  readonly log: RaftLog;

  term: number;
  vote: NodeId;
  role: Role = 'follower';
  leader: NodeId = NONE;
  /** Term and vote as they are durable here. */
  durable: HardState;

  /** Ticks since the leader was heard from, or since this election began; of a leader: since CheckQuorum. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  /** Drawn anew for each wait: Raft section 5.2. */
  electionTimeout = 0;
  /** The last leader, when its process is known dead and no other leads yet: elections do not wait. Else NONE. */
  goneLeader: NodeId = NONE;
  deferredPreVote: DeferredPreVote | undefined;
  /** The leader ordered this node to stand, which it may as soon as a membership change is applied. */
  standWhenApplied = false;
  readonly votes = new Map<NodeId, boolean>();

  conf: ConfState;
  readonly progress = new Map<NodeId, Progress>();
  incoming: Progress[] = [];
  outgoing: Progress[] = [];
  /** All members but this one. */
  peers: Progress[] = [];

  /** Leader: no further membership change is taken until this index is applied. */
  pendingConfIndex = 0;
  /** Leader: leadership is being handed to this member, and proposals are refused. */
  transferee: NodeId = NONE;
  /** Leader: entry bytes taken in and not yet handed out as committed. */
  uncommittedBytes = 0;
  readonly reads: ReadOnly;

  messages: Message[] = [];
  messagesAfterPersist: Message[] = [];
  readStates: ReadState[] = [];
  refusedProposals: RefusedProposal[] = [];

  constructor(config: ResolvedConfig) {
    this.id = config.id;
    this.config = config;
    this.prng = config.prng;
    this.term = config.hardState.term;
    this.vote = config.hardState.vote;
    this.durable = config.hardState;
    this.log = new RaftLog(config.log, {
      commit: config.hardState.commit,
      applied: config.applied,
      maxApplyingBytes: config.maxCommittedBytesPerReady,
    });
    this.reads = new ReadOnly(config.maxPendingReads);
    this.conf = config.confState;
    this.setConf(config.confState);
    this.drawElectionTimeout();
  }

  get self(): Progress | undefined {
    return this.progress.get(this.id);
  }

  /** May stand for election: a voter, and not in the middle of installing a snapshot. */
  get promotable(): boolean {
    return isVoter(this.conf, this.id) && this.log.pendingSnapshot === undefined;
  }

  send(message: Message): void {
    this.messages.push(message);
  }

  /** For what claims that something is durable: it leaves when this node's next Ready is. */
  sendAfterPersist(message: Message): void {
    this.messagesAfterPersist.push(message);
  }

  /** Takes over a configuration. Progress of members that stay is kept. */
  setConf(conf: ConfState): void {
    this.conf = conf;
    const ids = memberIds(conf);
    for (const id of this.progress.keys()) if (!ids.includes(id)) this.progress.delete(id);
    for (const id of ids) {
      const known = this.progress.get(id);
      const isLearner = !isVoter(conf, id);
      if (known) known.isLearner = isLearner;
      else this.progress.set(id, this.#newProgress(id, isLearner));
    }
    const of = (list: readonly NodeId[]) => list.map((id) => this.progress.get(id) as Progress);
    this.incoming = of(conf.voters);
    this.outgoing = of(conf.votersOutgoing);
    this.peers = of(ids.filter((id) => id !== this.id));
  }

  drawElectionTimeout(): void {
    const { electionTicks } = this.config;
    this.electionTimeout = electionTicks + this.prng.int(0, electionTicks - 1);
  }

  /** The next attempt comes within a few ticks, for the leader is known dead. */
  hurryElection(): void {
    this.electionElapsed = 0;
    const ticks = GONE_RETRY_TICKS + this.prng.int(0, GONE_RETRY_JITTER_TICKS);
    this.electionTimeout = Math.min(ticks, this.config.electionTicks);
  }

  becomeFollower(term: number, leader: NodeId): void {
    this.#reset(term);
    this.role = 'follower';
    this.setLeader(leader);
  }

  /** Changes neither term nor vote: a pre-vote leaves no trace (thesis section 9.6). */
  becomePreCandidate(): void {
    this.role = 'preCandidate';
    this.leader = NONE;
    this.votes.clear();
    this.electionElapsed = 0;
    if (this.goneLeader !== NONE) this.hurryElection();
    else this.drawElectionTimeout();
  }

  becomeCandidate(): void {
    this.#reset(this.term + 1);
    this.role = 'candidate';
    this.leader = NONE;
    this.vote = this.id;
  }

  becomeLeader(): void {
    this.#reset(this.term);
    this.role = 'leader';
    this.setLeader(this.id);
    for (const progress of this.progress.values()) progress.reset(this.log.lastIndex + 1);
    const self = this.self;
    if (self) {
      self.match = this.log.stableIndex;
      self.becomeReplicate();
      self.recentActive = true;
    }
    this.uncommittedBytes = 0;
    this.reads.clear();
  }

  setLeader(leader: NodeId): void {
    this.leader = leader;
    if (leader !== NONE) {
      this.goneLeader = NONE;
      this.deferredPreVote = undefined;
    }
  }

  #reset(term: number): void {
    if (term !== this.term) {
      this.term = term;
      this.vote = NONE;
    }
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    this.drawElectionTimeout();
    this.votes.clear();
    this.standWhenApplied = false;
    this.transferee = NONE;
    this.uncommittedBytes = 0;
    this.reads.clear();
  }

  #newProgress(id: NodeId, isLearner: boolean): Progress {
    const { maxInflightMessages, maxInflightBytes } = this.config;
    const progress = new Progress(id, isLearner, new Inflights(maxInflightMessages, maxInflightBytes));
    progress.next = this.log.lastIndex + 1;
    return progress;
  }
}
