/**
 * Replay of the log at start.
 *
 * Every write to the file opens with a *round* frame that tells its own offset, and is issued only after the write
 * before it is durable. So where the chain of frames breaks at X, a round anywhere behind X proves that X was durable
 * once: that is damage and the log is refused. With no round behind it, X lies in the last write, whose success
 * nobody was told of: a torn tail, which is cut.
 */

import type { WalContents } from '@muster/member';
import type { Entry, HardState } from '@muster/raft';
import { called, type Fs, type FsFile } from '../fs.ts';
import {
  decodeEntry,
  decodeHardState,
  decodePosition,
  decodeRound,
  FRAME_HEADER_BYTES,
  frameCrc,
  type LogPosition,
  RECORD,
} from './record.ts';
import {
  decodeSegmentHeader,
  headerCrc,
  parseSegmentName,
  readSegmentFile,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  type SegmentName,
  SPARE_SUFFIX,
} from './segment.ts';

/** The log cannot be trusted as it is. The message names file, offset, what was found and what to do. */
export class WalDamaged extends Error {
  override readonly name = 'WalDamaged';
}

/** A segment that is kept. */
export type SegmentInfo = { readonly name: string; readonly sequence: number; readonly base: LogPosition };

/** Where the writer goes on. */
export type WalTail = {
  readonly segments: readonly SegmentInfo[];
  readonly header: SegmentHeader;
  readonly offset: number;
  readonly crc: number;
  readonly round: number;
  /** Bytes from `offset` on that are left of a torn write and must be made zero first. */
  readonly tornBytes: number;
};

type Replay = { readonly contents: WalContents; readonly tail: WalTail | undefined };

export const WHAT_TO_DO =
  'Do not edit the file. On a member of a cluster of three or more: remove this member, delete its data directory and ' +
  'add it again; it gets the data from the others. On a single member: restore a backup.';

function damaged(path: string, offset: number, found: string): WalDamaged {
  return new WalDamaged(`${path}: damaged at offset ${offset}: ${found}. ${WHAT_TO_DO}`);
}

/** Reads the log in `directory`, removes what is left over of unfinished work, and says where to go on. */
export async function replayWal(fs: Fs, directory: string): Promise<Replay> {
  const names = await segmentsInUse(fs, directory);
  const state = new ReplayState();
  let tail: Omit<WalTail, 'segments'> | undefined;
  const segments: SegmentInfo[] = [];
  for (const [i, named] of names.entries()) {
    const path = `${directory}/${named.name}`;
    const bytes = await readSegmentFile(fs, path);
    tail = readSegment(state, path, named, bytes, tail, i === names.length - 1);
    segments.push({ name: named.name, sequence: named.sequence, base: tail.header.base });
  }
  if (!tail) return { contents: state.contents(directory), tail: undefined };
  return { contents: state.contents(directory), tail: { ...tail, segments } };
}

/**
 * The segments that count, oldest first: from the last one that starts over, or else the longest run up to the newest
 * without a hole. Older ones are leftovers of an interrupted removal; `ReplayState.contents` finds out if not.
 */
async function segmentsInUse(fs: Fs, directory: string): Promise<readonly SegmentName[]> {
  const names = await called<readonly string[]>((done) => fs.list(directory, done));
  for (const name of names) {
    if (name.endsWith(SPARE_SUFFIX)) await called((done) => fs.remove(`${directory}/${name}`, done));
  }
  const all = names.map(parseSegmentName).filter((n) => n !== undefined);
  all.sort((a, b) => a.sequence - b.sequence);
  let first = all.length - 1;
  while (first > 0 && (all[first - 1] as SegmentName).sequence === (all[first] as SegmentName).sequence - 1)
    first--;
  for (let i = all.length - 1; i > first; i--) {
    if (await startsOver(fs, `${directory}/${(all[i] as SegmentName).name}`)) first = i;
  }
  return all.slice(Math.max(0, first));
}

/** Removes the segments that `replay` found to be leftovers. Call only once the replay has succeeded. */
export async function removeLeftovers(fs: Fs, directory: string, tail: WalTail): Promise<void> {
  const kept = new Set(tail.segments.map((s) => s.name));
  const names = await called<readonly string[]>((done) => fs.list(directory, done));
  for (const name of names) {
    if (!parseSegmentName(name) || kept.has(name)) continue;
    await called((done) => fs.remove(`${directory}/${name}`, done));
  }
}

async function startsOver(fs: Fs, path: string): Promise<boolean> {
  const file = await called<FsFile>((done) => fs.open(path, 'read', done));
  try {
    const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES);
    const read = await called<number>((done) => file.read(bytes, 0, done));
    const header = decodeSegmentHeader(bytes.subarray(0, read));
    return typeof header !== 'string' && header.startOver;
  } finally {
    await called((done) => file.close(done));
  }
}

/** What the records say so far. */
class ReplayState {
  hardState: HardState | undefined;
  compacted: LogPosition = { index: 0, term: 0 };
  entries: Entry[] = [];
  /** Term and index before entries[0], as far as known. */
  #base: LogPosition | undefined;

  begin(header: SegmentHeader): void {
    this.#base = header.base;
    this.compacted = header.compacted;
    this.hardState = header.hardState;
  }

  get lastIndex(): number {
    return this.entries.at(-1)?.index ?? (this.#base as LogPosition).index;
  }

  /** False when the entry leaves a gap. */
  append(entry: Entry): boolean {
    if (entry.index > this.lastIndex + 1) return false;
    const first = this.entries[0];
    if (first && entry.index >= first.index) this.entries.length = entry.index - first.index;
    else {
      // Replaces what an older, released segment held.
      if (entry.index <= this.lastIndex) this.#base = undefined;
      this.entries = [];
    }
    this.entries.push(entry);
    return true;
  }

  contents(directory: string): WalContents {
    const { hardState, compacted } = this;
    const firstIndex = this.entries[0]?.index ?? (this.#base?.index ?? 0) + 1;
    const start = firstIndex - 1;
    if (start > compacted.index) {
      throw new WalDamaged(
        `${directory}: the log begins after index ${start} but is only known to be unneeded up to ${compacted.index}: ` +
          `a segment file is missing. ${WHAT_TO_DO}`,
      );
    }
    const entries = this.entries.slice(compacted.index - start);
    return { hardState, entries, compactedIndex: compacted.index, compactedTerm: compacted.term };
  }
}

type Scan = {
  readonly offset: number;
  readonly crc: number;
  readonly round: number;
  readonly problem: string | undefined;
};

function readSegment(
  state: ReplayState,
  path: string,
  named: SegmentName,
  bytes: Buffer,
  before: Omit<WalTail, 'segments'> | undefined,
  last: boolean,
): Omit<WalTail, 'segments'> {
  const header = decodeSegmentHeader(bytes);
  if (typeof header === 'string') throw damaged(path, 0, header);
  if (header.sequence !== named.sequence) {
    throw damaged(path, 16, `its name says segment ${named.sequence}, its header ${header.sequence}`);
  }
  if (bytes.length !== header.capacity) {
    throw damaged(
      path,
      bytes.length,
      `the file has ${bytes.length} bytes, it was made with ${header.capacity}`,
    );
  }
  if (!before) state.begin(header);
  else if (before.crc !== header.previousCrc) {
    throw damaged(
      path,
      72,
      'it does not continue the segment before: that one lost records or is another log’s',
    );
  }
  const scan = scanFrames(state, path, bytes, header);
  const end = endOfData(bytes, scan.offset);
  if (end > scan.offset && (!last || roundBehind(bytes, header, scan.offset))) {
    throw damaged(
      path,
      scan.offset,
      `${scan.problem ?? 'data after the end of the records'}, with whole writes behind it`,
    );
  }
  return { header, offset: scan.offset, crc: scan.crc, round: scan.round, tornBytes: end - scan.offset };
}

/** Follows the chain of frames as far as it holds. */
function scanFrames(state: ReplayState, path: string, bytes: Buffer, header: SegmentHeader): Scan {
  let offset = SEGMENT_HEADER_BYTES;
  let crc = headerCrc(bytes);
  let round = 0;
  let problem: string | undefined;
  while (offset + FRAME_HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32LE(offset);
    if (length === 0) break;
    const end = offset + 8 + length;
    if (end > bytes.length) {
      problem = `a record of ${length} bytes does not fit in the file`;
      break;
    }
    const stored = bytes.readUInt32LE(offset + 4);
    const actual = frameCrc(bytes, offset, end, crc);
    if (stored !== actual) {
      problem = `a record's checksum is ${stored.toString(16)}, of its bytes ${actual.toString(16)}`;
      break;
    }
    const wrong = takeRecord(state, bytes, header, offset, end, (n) => {
      round = n;
    });
    if (wrong) throw damaged(path, offset, wrong);
    crc = stored;
    offset = end;
  }
  return { offset, crc, round, problem };
}

/** Applies one checked record; returns what is wrong with its meaning. */
function takeRecord(
  state: ReplayState,
  bytes: Buffer,
  header: SegmentHeader,
  offset: number,
  end: number,
  onRound: (round: number) => void,
): string | undefined {
  const at = offset + FRAME_HEADER_BYTES;
  const type = bytes[offset + 8];
  switch (type) {
    case RECORD.round: {
      const round = decodeRound(bytes, header.salt, at);
      if (round?.offset !== offset) return `a write that belongs at offset ${round?.offset}`;
      onRound(round.number);
      return undefined;
    }
    case RECORD.hardState:
      state.hardState = decodeHardState(bytes, at);
      return undefined;
    case RECORD.compacted:
      state.compacted = decodePosition(bytes, at);
      return undefined;
    case RECORD.entry:
    case RECORD.configEntry: {
      const entry = decodeEntry(bytes, type === RECORD.entry ? 'normal' : 'config', at, end);
      const before = state.lastIndex;
      return state.append(entry) ? undefined : `entry ${entry.index} follows entry ${before}`;
    }
    default:
      return `a record of unknown type ${type}`;
  }
}

/** One past the last byte at or after `from` that is not zero. */
function endOfData(bytes: Buffer, from: number): number {
  let end = bytes.length;
  const zeros = Buffer.alloc(64 * 1024);
  while (end > from) {
    const start = Math.max(from, end - zeros.length);
    if (bytes.compare(zeros, 0, end - start, start, end) !== 0) break;
    end = start;
  }
  while (end > from && bytes[end - 1] === 0) end--;
  return end;
}

function roundBehind(bytes: Buffer, header: SegmentHeader, from: number): boolean {
  const salt = Buffer.from(header.salt);
  for (let at = bytes.indexOf(salt, from); at >= 0; at = bytes.indexOf(salt, at + 1)) {
    const round = decodeRound(bytes, header.salt, at);
    const start = at - FRAME_HEADER_BYTES;
    if (round?.offset === start && start > from) return true;
  }
  return false;
}
