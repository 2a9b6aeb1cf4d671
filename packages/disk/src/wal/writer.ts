import { assert } from '@muster/base';
import { type Wal, type WalBatch, WalError } from '@muster/member';
import type { HardState } from '@muster/raft';
import { type Done, type Fs, type FsFile, isFull } from '../fs.ts';
import type { SegmentInfo } from './reader.ts';
import {
  COMPACTED_FRAME_BYTES,
  entryFrameBytes,
  FrameEncoder,
  HARD_STATE_FRAME_BYTES,
  type LogPosition,
  ROUND_FRAME_BYTES,
} from './record.ts';
import {
  commissionSpare,
  createSpare,
  encodeSegmentHeader,
  headerCrc,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  SPARE_SUFFIX,
  type Spare,
  segmentName,
} from './segment.ts';

/** One write takes no more than this, unless a single batch is larger: those behind must not wait too long. */
const ROUND_BYTES_MAX: number = 4 * 1024 * 1024;
/** Batches that asked for no sync and wait for the next one that does. */
const UNSYNCED_BATCHES_MAX = 256;

type Append = {
  readonly kind: 'append';
  readonly batch: WalBatch;
  readonly sync: boolean;
  done: Done | undefined;
};
type Reset = {
  readonly kind: 'reset';
  readonly position: LogPosition;
  readonly hardState: HardState;
  readonly done: Done;
};
type Work = Append | Reset;

/** A commit index alone may be lost: it is found out again. */
function needsWrite(work: Work): boolean {
  return work.kind === 'reset' || work.sync || work.batch.entries.length > 0;
}

/** The state of the log as far as it is durable. */
export type Written = {
  readonly last: LogPosition;
  readonly compacted: LogPosition;
  readonly hardState: HardState | undefined;
};

/** The segment that is written to. */
export type OpenSegment = {
  readonly file: FsFile;
  readonly header: SegmentHeader;
  readonly offset: number;
  readonly crc: number;
};

type WriterOptions = {
  readonly fs: Fs;
  readonly directory: string;
  readonly segmentBytes: number;
  readonly salt: () => Uint8Array;
  /** Told how long each write took that was on disk when it ended, and its size. */
  readonly onSync?: (seconds: number, bytes: number) => void;
};

/**
 * Appends by group commit: one write (to a file open with O_DSYNC, so that it is its own sync) is under way at a time,
 * and all that comes meanwhile shares the next. A full disk fails the batches at hand and leaves the log as it was;
 * any other failure is final, because what the system's cache holds after a failed sync is not known.
 */
export class WalWriter implements Wal {
  readonly #fs: Fs;
  readonly #options: WriterOptions;
  readonly #encoder = new FrameEncoder();
  #current: OpenSegment;
  #segments: SegmentInfo[];
  #written: Written;
  /** Index of the newest entry accepted, written or not. */
  #acceptedIndex: number;
  #queue: Work[] = [];
  #round: number;
  /** To be told to the log with the next write. */
  #marker: LogPosition | undefined;
  #busy = false;
  #spare: Spare | undefined;
  #sparing = false;
  #onSpare: (() => void) | undefined;
  #removing = false;
  #failure: WalError | undefined;
  #onIdle: (() => void) | undefined;
  #closing = false;

  constructor(
    options: WriterOptions,
    start: {
      readonly current: OpenSegment;
      readonly segments: readonly SegmentInfo[];
      readonly written: Written;
      readonly round: number;
    },
  ) {
    this.#fs = options.fs;
    this.#options = options;
    this.#current = start.current;
    this.#segments = [...start.segments];
    this.#written = start.written;
    this.#acceptedIndex = start.written.last.index;
    this.#round = start.round;
  }

  append(batch: WalBatch, sync: boolean, done: (error?: WalError) => void): void {
    if (this.#refuse(done)) return;
    const first = batch.entries[0];
    if (first) {
      assert(
        first.index <= this.#acceptedIndex + 1,
        () => `gap: entry ${first.index} after ${this.#acceptedIndex}`,
      );
      this.#acceptedIndex = first.index + batch.entries.length - 1;
    }
    this.#queue.push({ kind: 'append', batch, sync, done: done as Done });
    this.#proceed();
  }

  release(index: number, term: number): void {
    if (index <= (this.#marker ?? this.#written.compacted).index) return;
    this.#marker = { index, term };
  }

  reset(index: number, term: number, hardState: HardState, done: (error?: WalError) => void): void {
    if (this.#refuse(done)) return;
    this.#acceptedIndex = index;
    this.#queue.push({ kind: 'reset', position: { index, term }, hardState, done: done as Done });
    this.#proceed();
  }

  /** Writes what waits, then closes. The log may be opened again when `done` is called. */
  close(done: () => void): void {
    assert(!this.#closing, 'the log is closed twice');
    this.#closing = true;
    const finish = (): void => {
      if (this.#busy || this.#sparing || this.#removing) {
        this.#onIdle = finish;
        return;
      }
      if (this.#queue.length > 0 && !this.#failure) {
        this.#onIdle = finish;
        return this.#startRound();
      }
      this.#current.file.close(() => this.#dropSpare(done));
    };
    this.#fs.defer(finish);
  }

  /** The segments kept, oldest first: for tests and for the operator. */
  get segments(): readonly SegmentInfo[] {
    return this.#segments;
  }

  #refuse(done: (error?: WalError) => void): boolean {
    const error = this.#closing ? new WalError('the log is closed', { retryable: false }) : this.#failure;
    if (error) this.#fs.defer(() => done(error));
    return error !== undefined;
  }

  #proceed(): void {
    if (this.#busy) return;
    if (this.#failure || this.#queue.length === 0) return this.#idle();
    if (this.#queue.length <= UNSYNCED_BATCHES_MAX && !this.#queue.some(needsWrite))
      return this.#settleUnsynced();
    this.#startRound();
  }

  #idle(): void {
    const run = this.#onIdle;
    this.#onIdle = undefined;
    run?.();
  }

  /** What asked for no sync is complete at once; it goes to the file with the next write. */
  #settleUnsynced(): void {
    const dones: Done[] = [];
    for (const work of this.#queue) {
      if (work.kind !== 'append' || !work.done) continue;
      dones.push(work.done);
      work.done = undefined;
    }
    if (dones.length > 0)
      this.#fs.defer(() => {
        for (const done of dones) done();
      });
    this.#idle();
  }

  #startRound(): void {
    this.#busy = true;
    const first = this.#queue[0] as Work;
    if (first.kind === 'reset') {
      this.#queue.shift();
      return this.#startOver(first);
    }
    const { items, bytes } = this.#take();
    if (this.#current.offset + bytes <= this.#current.header.capacity) return this.#write(items);
    const firstIndex = items.find((i) => i.batch.entries.length > 0)?.batch.entries[0]?.index;
    const { last, hardState, compacted } = this.#written;
    const base = { base: last, hardState, compacted, previousCrc: this.#current.crc, startOver: false };
    this.#roll(base, firstIndex ?? last.index + 1, bytes, (error) => {
      if (error) this.#fail(items, error);
      else this.#write(items);
    });
  }

  /** The appends of the next write, and how many bytes they take at most. */
  #take(): { items: Append[]; bytes: number } {
    const items: Append[] = [];
    let bytes = ROUND_FRAME_BYTES + COMPACTED_FRAME_BYTES;
    for (const work of this.#queue) {
      if (work.kind === 'reset') break;
      let size = work.batch.hardState ? HARD_STATE_FRAME_BYTES : 0;
      for (const entry of work.batch.entries) size += entryFrameBytes(entry);
      if (items.length > 0 && bytes + size > ROUND_BYTES_MAX) break;
      items.push(work);
      bytes += size;
    }
    this.#queue.splice(0, items.length);
    return { items, bytes };
  }

  #write(items: readonly Append[]): void {
    const segment = this.#current;
    const encoder = this.#encoder;
    const marker = this.#marker;
    let { last, hardState } = this.#written;
    encoder.begin(segment.crc);
    // Numbered anew on every attempt: what a failed one left behind never continues a later one's chain.
    encoder.round(segment.header.salt, { offset: segment.offset, number: ++this.#round });
    if (marker) encoder.compacted(marker);
    for (const { batch } of items) {
      if (batch.hardState) {
        hardState = batch.hardState;
        encoder.hardState(batch.hardState);
      }
      for (const entry of batch.entries) encoder.entry(entry);
      const newest = batch.entries.at(-1);
      if (newest) last = { index: newest.index, term: newest.term };
    }
    const bytes = encoder.bytes();
    const { onSync } = this.#options;
    const started = onSync ? performance.now() : 0;
    segment.file.write(bytes, segment.offset, (error) => {
      if (error) return this.#undo(items, error);
      onSync?.((performance.now() - started) / 1000, bytes.length);
      this.#current = { ...segment, offset: segment.offset + bytes.length, crc: encoder.crc };
      this.#written = { last, hardState, compacted: marker ?? this.#written.compacted };
      if (marker && this.#marker === marker) this.#marker = undefined;
      this.#finish(items, marker !== undefined);
    });
  }

  #finish(items: readonly Append[], released: boolean): void {
    this.#busy = false;
    if (released) this.#removeReleased();
    this.#prepareSpare();
    // The next write starts before the callers run: they take time, the disk should not wait for them.
    this.#proceed();
    for (const item of items) item.done?.();
  }

  /** A write failed. With the disk full its start is erased, so that it leaves no records behind. */
  #undo(items: readonly Append[], error: Error): void {
    if (!isFull(error)) return this.#fail(items, error);
    this.#current.file.write(new Uint8Array(ROUND_FRAME_BYTES), this.#current.offset, (eraseError) => {
      this.#fail(items, eraseError && !isFull(eraseError) ? eraseError : error);
    });
  }

  #fail(items: readonly Work[], cause: Error): void {
    const retryable = isFull(cause);
    const error = new WalError(
      retryable
        ? `the disk is full: nothing was written to the log in ${this.#options.directory}; make room (${cause.message})`
        : `writing the log in ${this.#options.directory} failed, it is not written to any more: ${cause.message}`,
      { retryable, cause },
    );
    if (!retryable) this.#failure = error;
    // What waits counts on what just failed.
    const failed = [...items, ...this.#queue];
    this.#queue = [];
    this.#acceptedIndex = this.#written.last.index;
    this.#busy = false;
    this.#idle();
    for (const work of failed) work.done?.(error);
  }

  #startOver(reset: Reset): void {
    const { position, hardState } = reset;
    const base = { base: position, compacted: position, hardState, previousCrc: 0, startOver: true };
    this.#roll(base, position.index + 1, 0, (error) => {
      if (error) return this.#fail([reset], error);
      this.#written = { last: position, compacted: position, hardState };
      this.#marker = undefined;
      this.#busy = false;
      this.#removeReleased();
      this.#proceed();
      reset.done();
    });
  }

  /** Goes on in a new segment with room for `bytes`. */
  #roll(
    base: Pick<SegmentHeader, 'base' | 'compacted' | 'hardState' | 'previousCrc' | 'startOver'>,
    firstIndex: number,
    bytes: number,
    done: Done,
  ): void {
    const { directory, segmentBytes, salt } = this.#options;
    this.#obtainSpare(Math.max(segmentBytes, SEGMENT_HEADER_BYTES + bytes), (spareError, spare) => {
      if (!spare) return done(spareError);
      const sequence = this.#current.header.sequence + 1;
      const header: SegmentHeader = { ...base, sequence, capacity: spare.capacity, salt: salt() };
      const encoded = encodeSegmentHeader(header);
      const name = segmentName(sequence, firstIndex);
      commissionSpare(this.#fs, spare, encoded, directory, name, (error) => {
        if (error) return done(error);
        this.#spare = undefined;
        this.#current.file.close(() => {});
        this.#current = { file: spare.file, header, offset: SEGMENT_HEADER_BYTES, crc: headerCrc(encoded) };
        this.#segments.push({ name, sequence, base: header.base });
        done();
      });
    });
  }

  /** A spare of at least `capacity`: the one at hand or under way, or a new one. */
  #obtainSpare(capacity: number, done: (error: Error | undefined, spare: Spare | undefined) => void): void {
    if (this.#sparing) {
      this.#onSpare = () => this.#obtainSpare(capacity, done);
      return;
    }
    const spare = this.#spare;
    if (spare && spare.capacity >= capacity) return done(undefined, spare);
    const create = (): void => {
      createSpare(this.#fs, this.#sparePath(), capacity, (error, made) => {
        this.#spare = made;
        done(error, made);
      });
    };
    if (spare) spare.file.close(create);
    else create();
  }

  /** Past half of a segment the next one is made, so that nobody waits for it. */
  #prepareSpare(): void {
    const { offset, header } = this.#current;
    if (this.#spare || this.#sparing || this.#closing || offset < header.capacity / 2) return;
    this.#sparing = true;
    createSpare(this.#fs, this.#sparePath(), this.#options.segmentBytes, (_error, spare) => {
      // A failure shows when the spare is needed and made again.
      this.#spare = spare;
      this.#sparing = false;
      const waiting = this.#onSpare;
      this.#onSpare = undefined;
      if (waiting) waiting();
      else if (!this.#busy) this.#idle();
    });
  }

  #sparePath(): string {
    return `${this.#options.directory}/next${SPARE_SUFFIX}`;
  }

  #dropSpare(done: () => void): void {
    const spare = this.#spare;
    if (!spare) return done();
    spare.file.close(() => this.#fs.remove(spare.path, () => done()));
  }

  /** Removes, oldest first, segments whose every entry the durable log calls unneeded. */
  #removeReleased(): void {
    if (this.#removing) return;
    const [oldest, next] = this.#segments;
    const past = oldest && next && oldest.sequence < this.#firstNeeded();
    if (!past) return;
    this.#removing = true;
    this.#fs.remove(`${this.#options.directory}/${oldest.name}`, (error) => {
      this.#removing = false;
      // One that cannot be removed now is tried again at the next release.
      if (!error) {
        this.#segments.shift();
        this.#removeReleased();
      }
      if (!this.#busy && !this.#removing) this.#idle();
    });
  }

  /** Sequence of the oldest segment that holds entries still needed, or the current one. */
  #firstNeeded(): number {
    let needed = (this.#segments[0] as SegmentInfo).sequence;
    for (const segment of this.#segments) {
      if (segment.base.index <= this.#written.compacted.index) needed = segment.sequence;
    }
    return this.#current.header.startOver ? this.#current.header.sequence : needed;
  }
}
