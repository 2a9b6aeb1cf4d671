import { randomBytes } from 'node:crypto';
import { assert } from '@muster/base';
import type { Wal, WalContents } from '@muster/member';
import { called, type Fs, type FsFile } from '../fs.ts';
import { nodeFs } from '../node-fs.ts';
import {
  removeLeftovers,
  replayWal,
  type SegmentInfo,
  WalDamaged,
  type WalTail,
  WHAT_TO_DO,
} from './reader.ts';
import { SALT_BYTES } from './record.ts';
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
import { type OpenSegment, WalWriter } from './writer.ts';

const SEGMENT_BYTES_DEFAULT: number = 16 * 1024 * 1024;
const SEGMENT_BYTES_MIN = 4096;

export type OpenWalOptions = {
  readonly fs?: Fs;
  /** Size of a segment file; a single larger batch gets a larger one. */
  readonly segmentBytes?: number;
  /** Eight unpredictable bytes; from the system when absent. */
  readonly salt?: () => Uint8Array;
  /** Told how long each synced write took, in seconds. */
  readonly onSync?: (seconds: number, bytes: number) => void;
  /** There was a log here before. Without it the member's votes are forgotten, and it must not start anew. */
  readonly mustExist?: boolean;
};

/**
 * Opens the log in `directory`, creating it when there is none: replays and checks it, cuts a torn tail, removes
 * leftovers. Fails with `WalDamaged` when the log cannot be trusted.
 */
export async function openWal(
  directory: string,
  options: OpenWalOptions = {},
): Promise<{ wal: Wal; contents: WalContents }> {
  const fs = options.fs ?? nodeFs;
  const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES_DEFAULT;
  assert(
    segmentBytes >= SEGMENT_BYTES_MIN,
    () => `segments of ${segmentBytes} bytes, at least ${SEGMENT_BYTES_MIN}`,
  );
  const salt = options.salt ?? (() => new Uint8Array(randomBytes(SALT_BYTES)));
  await called((done) => fs.makeDirectory(directory, done));
  const { contents, tail } = await replayWal(fs, directory);
  if (!tail && options.mustExist) {
    throw new WalDamaged(
      `${directory}: the log of this member is gone, and with it what it voted and acknowledged. ${WHAT_TO_DO}`,
    );
  }
  const start = tail
    ? await goOn(fs, directory, tail)
    : await startNew(fs, directory, { segmentBytes, salt: salt() });
  const { hardState, compactedIndex, compactedTerm, entries } = contents;
  const compacted = { index: compactedIndex, term: compactedTerm };
  const newest = entries.at(-1);
  const last = newest ? { index: newest.index, term: newest.term } : compacted;
  const wal = new WalWriter(
    { fs, directory, segmentBytes, salt, ...(options.onSync && { onSync: options.onSync }) },
    { ...start, written: { last, compacted, hardState }, round: tail?.round ?? 0 },
  );
  return { wal, contents };
}

type Start = { readonly current: OpenSegment; readonly segments: readonly SegmentInfo[] };

async function goOn(fs: Fs, directory: string, tail: WalTail): Promise<Start> {
  const path = `${directory}/${(tail.segments.at(-1) as SegmentInfo).name}`;
  const file = await called<FsFile>((done) => fs.open(path, 'update', done));
  if (tail.tornBytes > 0)
    await called((done) => file.write(new Uint8Array(tail.tornBytes), tail.offset, done));
  await removeLeftovers(fs, directory, tail);
  const { header, offset, crc } = tail;
  return { current: { file, header, offset, crc }, segments: tail.segments };
}

async function startNew(
  fs: Fs,
  directory: string,
  options: { readonly segmentBytes: number; readonly salt: Uint8Array },
): Promise<Start> {
  const path = `${directory}/next${SPARE_SUFFIX}`;
  const spare = await called<Spare>((done) => createSpare(fs, path, options.segmentBytes, done));
  const nowhere = { index: 0, term: 0 };
  const header: SegmentHeader = {
    sequence: 1,
    base: nowhere,
    compacted: nowhere,
    hardState: undefined,
    capacity: spare.capacity,
    salt: options.salt,
    previousCrc: 0,
    startOver: false,
  };
  const encoded = encodeSegmentHeader(header);
  const name = segmentName(1, 1);
  await called((done) => commissionSpare(fs, spare, encoded, directory, name, done));
  const current = { file: spare.file, header, offset: SEGMENT_HEADER_BYTES, crc: headerCrc(encoded) };
  return { current, segments: [{ name, sequence: 1, base: nowhere }] };
}
