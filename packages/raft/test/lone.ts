/** One node alone, with a log of given terms, whose every output is collected. */
import { Prng } from '@muster/base';
import {
  type ConfState,
  EMPTY_CONF_STATE,
  type Entry,
  type HardState,
  MemoryLog,
  type Message,
  type MessageType,
  type RaftConfig,
  RaftNode,
  type Ready,
} from '../src/index.ts';

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export function entry(index: number, term: number, text = `${index}@${term}`): Entry {
  return { index, term, type: 'normal', data: bytes(text) };
}

export function voters(...ids: number[]): ConfState {
  return { ...EMPTY_CONF_STATE, voters: ids.map(BigInt) };
}

/** Leaves out the fields that the rule under test is not about. */
type Loose<M> = M extends Message ? Pick<M, 'type' | 'term'> & Partial<Omit<M, 'type' | 'term'>> : never;

const FIELDS = {
  prevIndex: 0,
  prevTerm: 0,
  entries: [],
  commit: 0,
  commitTerm: 0,
  index: 0,
  reject: false,
  hintIndex: 0,
  hintTerm: 0,
  context: 0,
  lastIndex: 0,
  lastTerm: 0,
  transfer: false,
};

export type LoneOptions = {
  readonly conf?: ConfState;
  /** Terms of the entries found on disk, from index 1. */
  readonly terms?: readonly number[];
  readonly hardState?: HardState;
  readonly seed?: number;
  readonly config?: Partial<RaftConfig>;
};

export class Lone {
  readonly log = new MemoryLog();
  readonly node: RaftNode;
  readonly sent: Message[] = [];
  readonly committed: Entry[] = [];
  readonly reads: { context: number; index: number }[] = [];
  readonly waiting: Ready[] = [];

  constructor(options: LoneOptions = {}) {
    const terms = options.terms ?? [];
    this.log.append(terms.map((term, i) => entry(i + 1, term)));
    const hardState = options.hardState ?? { term: terms.at(-1) ?? 0, vote: 0n, commit: 0 };
    this.node = new RaftNode({
      id: 1n,
      log: this.log,
      hardState,
      confState: options.conf ?? voters(1, 2, 3),
      applied: 0,
      electionTicks: 10,
      heartbeatTicks: 2,
      prng: new Prng(options.seed ?? 1),
      snapshotMeta: () => undefined,
      ...options.config,
    });
  }

  get terms(): number[] {
    const { lastIndex } = this.node.status();
    return Array.from({ length: lastIndex }, (_, i) => this.node.termAt(i + 1) as number);
  }

  /** A message from 2 to 1, unless it says otherwise. */
  step(message: Loose<Message>): this {
    this.node.step({ ...FIELDS, from: 2n, to: 1n, ...message } as Message);
    return this;
  }

  ticks(count: number): this {
    for (; count > 0; count--) this.node.tick();
    return this;
  }

  /** Takes what is ready; what must wait for the disk stays in `waiting`. */
  take(): this {
    while (this.node.hasReady) {
      const ready = this.node.takeReady();
      this.sent.push(...ready.messages);
      this.committed.push(...ready.committedEntries);
      this.reads.push(...ready.readStates);
      this.waiting.push(ready);
      const last = ready.committedEntries.at(-1);
      if (last) this.node.onApplied(last.index);
    }
    return this;
  }

  /** The disk is done with everything taken so far. */
  persist(): this {
    for (const ready of this.waiting.splice(0)) {
      this.log.append(ready.entries);
      this.node.onPersisted(ready.number);
      this.sent.push(...ready.messagesAfterPersist);
    }
    return this;
  }

  /** Runs until nothing more comes out. */
  run(): this {
    while (this.node.hasReady || this.waiting.length > 0) this.take().persist();
    return this;
  }

  /** What was sent since the last call, of one type. */
  drain<T extends MessageType>(type: T): (Message & { readonly type: T })[] {
    this.run();
    return this.sent.splice(0).filter((m) => m.type === type) as (Message & { readonly type: T })[];
  }

  /** Makes it leader of the next term by the votes of all. */
  lead(): this {
    this.node.campaign();
    this.run();
    for (const from of this.node.confState.voters) {
      if (from !== 1n) this.step({ type: 'preVoteResponse', term: this.node.term + 1, from });
    }
    this.run();
    for (const from of this.node.confState.voters) {
      if (from !== 1n) this.step({ type: 'voteResponse', term: this.node.term, from });
    }
    this.run();
    this.sent.length = 0;
    return this;
  }
}
