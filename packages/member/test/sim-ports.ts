import type { Clock, Prng } from '@muster/base';
import { MemoryEngine } from '@muster/kv';
import type { Entry, HardState, Message, NodeId } from '@muster/raft';
import {
  type PeerEvent,
  type PeerMessage,
  type PeerTransport,
  RAFT_META_KEY,
  type SnapshotStore,
  type Wal,
  type WalBatch,
  type WalContents,
  WalError,
} from '../src/index.ts';
import type { PausableClock } from './pausable-clock.ts';

type Durable = {
  entries: Entry[];
  hardState: HardState | undefined;
  compactedIndex: number;
  compactedTerm: number;
};

/** What of a member survives a crash: its log up to the last completed sync, and the engine's sealed units. */
export class SimDisk {
  log: Durable = { entries: [], hardState: undefined, compactedIndex: 0, compactedTerm: 0 };
  readonly images = new Map<string, MemoryEngine>();
  engine = new MemoryEngine({ durable: 'onFlush' });
  full = false;
  /** The longest that a sync takes. */
  syncMs = 3;
  /** How long an image takes to be installed. */
  installMs = 2;

  /** All is gone. */
  wipe(): void {
    this.log = { entries: [], hardState: undefined, compactedIndex: 0, compactedTerm: 0 };
    this.images.clear();
    this.engine = new MemoryEngine({ durable: 'onFlush' });
  }

  contents(): WalContents {
    const { entries, hardState, compactedIndex, compactedTerm } = this.log;
    return { entries: [...entries], hardState, compactedIndex, compactedTerm };
  }
}

/** A log whose syncs take time; a crash loses what was not synced. */
export class SimWal implements Wal {
  readonly #disk: SimDisk;
  readonly #clock: Clock;
  readonly #prng: Prng;
  #waiting: { batch: WalBatch; done: (error?: WalError) => void }[] = [];
  #syncing = false;

  constructor(disk: SimDisk, clock: Clock, prng: Prng) {
    this.#disk = disk;
    this.#clock = clock;
    this.#prng = prng;
  }

  append(batch: WalBatch, _sync: boolean, done: (error?: WalError) => void): void {
    this.#waiting.push({ batch, done });
    this.#next();
  }

  release(index: number, term: number): void {
    const log = this.#disk.log;
    log.entries = log.entries.filter((entry) => entry.index > index);
    log.compactedIndex = index;
    log.compactedTerm = term;
  }

  reset(index: number, term: number, hardState: HardState, done: (error?: WalError) => void): void {
    this.#clock.schedule(1, () => {
      this.#disk.log = { entries: [], hardState, compactedIndex: index, compactedTerm: term };
      done();
    });
  }

  close(done: () => void): void {
    this.#clock.defer(done);
  }

  #next(): void {
    if (this.#syncing || this.#waiting.length === 0) return;
    this.#syncing = true;
    const round = this.#waiting;
    this.#waiting = [];
    this.#clock.schedule(this.#prng.int(0, this.#disk.syncMs), () => {
      this.#syncing = false;
      if (this.#disk.full) {
        const failed = [...round, ...this.#waiting];
        this.#waiting = [];
        for (const { done } of failed) done(new WalError('no space left on device', { retryable: true }));
        return;
      }
      for (const { batch } of round) this.#write(batch);
      for (const { done } of round) done();
      this.#next();
    });
  }

  #write(batch: WalBatch): void {
    const log = this.#disk.log;
    if (batch.hardState) log.hardState = batch.hardState;
    for (const entry of batch.entries) {
      if (entry.index <= log.compactedIndex) continue;
      log.entries.length = entry.index - log.compactedIndex - 1;
      log.entries.push(entry);
    }
  }
}

export class SimSnapshots implements SnapshotStore {
  readonly #disk: SimDisk;
  readonly #clock: Clock;
  #count = 0;

  constructor(disk: SimDisk, clock: Clock) {
    this.#disk = disk;
    this.#clock = clock;
  }

  create(done: (error: Error | undefined, image: { name: string; raftMeta: Uint8Array }) => void): void {
    this.#clock.schedule(2, () => {
      const name = `image-${++this.#count}`;
      const image = this.#disk.engine.crashCopy();
      this.#disk.images.set(name, image);
      done(undefined, { name, raftMeta: image.get('meta', RAFT_META_KEY) as Uint8Array });
    });
  }

  install(name: string, done: (error?: Error) => void): void {
    const image = this.#disk.images.get(name);
    this.#clock.schedule(this.#disk.installMs, () => {
      if (!image) return done(new Error(`no image ${name}`));
      this.#disk.engine.replaceBy(image);
      done();
    });
  }

  prune(keep: number): void {
    const names = [...this.#disk.images.keys()];
    for (const name of names.slice(0, -keep)) this.#disk.images.delete(name);
  }
}

export type NetworkOptions = { loss: number; delayMs: number; duplicate: number };

/** Links between members with loss, delay, duplication and cuts. */
export class SimNetwork {
  readonly options: NetworkOptions = { loss: 0, delayMs: 1, duplicate: 0 };
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #members = new Map<NodeId, SimTransport>();
  readonly #cuts = new Set<string>();

  constructor(clock: Clock, prng: Prng) {
    this.#clock = clock;
    this.#prng = prng;
  }

  attach(transport: SimTransport): void {
    this.#members.set(transport.id, transport);
    for (const other of this.#members.values()) {
      if (other === transport) continue;
      this.#clock.defer(() => other.deliver({ type: 'connected', peer: transport.id }));
      this.#clock.defer(() => transport.deliver({ type: 'connected', peer: other.id }));
    }
  }

  /** The process died: everybody connected sees the reset. */
  detach(id: NodeId): void {
    this.#members.delete(id);
    for (const other of this.#members.values()) {
      if (!this.#cuts.has(`${id}>${other.id}`)) {
        this.#clock.schedule(1, () => other.deliver({ type: 'disconnected', peer: id, reset: true }));
      }
    }
  }

  cut(a: NodeId, b: NodeId): void {
    this.#cuts.add(`${a}>${b}`).add(`${b}>${a}`);
  }

  heal(): void {
    this.#cuts.clear();
  }

  up(from: NodeId, to: NodeId): boolean {
    return this.#members.has(to) && !this.#cuts.has(`${from}>${to}`);
  }

  /** As at the handshake: strangers are newer members, and who was removed is told so. */
  #admits(from: NodeId, to: NodeId): boolean {
    const [caller, receiver] = [this.#members.get(from), this.#members.get(to)];
    if (!caller || !receiver?.removed.has(from)) return receiver !== undefined;
    this.#clock.schedule(this.options.delayMs, () => {
      if (this.up(to, from)) caller.deliver({ type: 'removed', by: to });
    });
    return false;
  }

  carry(from: NodeId, to: NodeId, event: PeerEvent): boolean {
    if (!this.#members.has(to) || !this.#admits(from, to)) return false;
    // Forwarded proposals are not: the port promises that nothing arrives twice, and they alone count on it.
    const isProposal =
      event.type === 'message' && event.message.type === 'raft' && event.message.message.type === 'propose';
    const copies = !isProposal && this.#prng.chance(this.options.duplicate) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (this.#prng.chance(this.options.loss)) continue;
      const delay = this.options.delayMs * (0.5 + this.#prng.float());
      this.#clock.schedule(delay, () => {
        if (this.up(from, to)) this.#members.get(to)?.deliver(event);
      });
    }
    return true;
  }
}

export class SimTransport implements PeerTransport {
  readonly id: NodeId;
  readonly #network: SimNetwork;
  readonly #clock: Clock;
  readonly #process: PausableClock;
  readonly #disk: SimDisk;
  readonly #diskOf: (id: NodeId) => SimDisk;
  #handler: ((event: PeerEvent) => void) | undefined;
  closed = false;
  peers: ReadonlyMap<NodeId, readonly string[]> = new Map();
  removed: ReadonlySet<NodeId> = new Set();

  constructor(id: NodeId, network: SimNetwork, process: PausableClock, diskOf: (id: NodeId) => SimDisk) {
    this.id = id;
    this.#network = network;
    this.#clock = process;
    this.#process = process;
    this.#diskOf = diskOf;
    this.#disk = diskOf(id);
  }

  onEvent(handler: (event: PeerEvent) => void): void {
    this.#handler = handler;
  }

  setPeers(
    peers: ReadonlyMap<NodeId, readonly string[]>,
    cluster: { readonly removed: ReadonlySet<NodeId> },
  ): void {
    this.peers = peers;
    this.removed = cluster.removed;
  }

  deliver(event: PeerEvent): void {
    this.#process.run(() => {
      if (!this.closed) this.#handler?.(event);
    });
  }

  send(to: NodeId, message: PeerMessage): boolean {
    return this.#network.carry(this.id, to, { type: 'message', from: this.id, message });
  }

  sendSnapshot(
    to: NodeId,
    message: Message & { readonly type: 'snapshot' },
    name: string,
    done: (error?: Error) => void,
  ): void {
    this.#clock.schedule(5, () => {
      if (this.closed) return;
      const image = this.#disk.images.get(name);
      if (!image || !this.#network.up(this.id, to)) return done(new Error('not connected'));
      const received = `from-${this.id}-${name}`;
      this.#diskOf(to).images.set(received, image);
      this.#network.carry(this.id, to, { type: 'snapshotReceived', from: this.id, name: received, message });
      done();
    });
  }

  connectedForMs(peer: NodeId): number | undefined {
    return this.#network.up(this.id, peer) ? 10_000 : undefined;
  }

  close(done: () => void): void {
    this.closed = true;
    this.#clock.defer(done);
  }
}
