/** Messages of a watch stream. */
import { EMPTY_BYTES } from '@muster/base';
import type { Event, ResponseHeader, WatchBatch, WatchFilter, WatchRequest } from '@muster/kv';
import { handCodec } from './codec.ts';
import { NO_HEADER, readHeader, writeHeader } from './header.ts';
import { readEvent, writeEvent } from './key-value.ts';
import { WATCH_FILTERS } from './names.ts';
import type { ProtoReader } from './proto-reader.ts';
import { ProtoWriter } from './proto-writer.ts';

/** `watchId` 0n lets the server choose. `none` has nothing set and is ignored. */
export type WatchStreamRequest =
  | {
      readonly type: 'create';
      readonly watch: WatchRequest;
      readonly watchId: bigint;
      readonly fragment: boolean;
    }
  | { readonly type: 'cancel'; readonly watchId: bigint }
  | { readonly type: 'progress' }
  | { readonly type: 'none' };

type Create = WatchStreamRequest & { readonly type: 'create' };

function writeCreate(writer: ProtoWriter, { watch, watchId, fragment }: Create): void {
  writer.flag(8, fragment);
  writer.id(7, watchId);
  writer.flag(6, watch.prevKv);
  const filters = watch.filters ?? [];
  if (filters.length > 0)
    writer.setBytes(
      5,
      Uint8Array.from(filters, (name) => WATCH_FILTERS.indexOf(name)),
    );
  writer.flag(4, watch.progressNotify);
  writer.integer(3, watch.startRevision ?? 0);
  writer.bytes(2, watch.rangeEnd);
  writer.bytes(1, watch.key);
}

function readCreate(reader: ProtoReader, end: number): Create {
  const watch: { -readonly [K in keyof WatchRequest]: WatchRequest[K] } = { key: EMPTY_BYTES };
  const filters: number[] = [];
  let watchId = 0n;
  let fragment = false;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) watch.key = reader.bytes();
    else if (tag === 0x12) watch.rangeEnd = reader.bytes();
    else if (tag === 0x18) watch.startRevision = reader.integer();
    else if (tag === 0x20) watch.progressNotify = reader.flag();
    else if (tag === 0x28 || tag === 0x2a) reader.enums(tag, filters);
    else if (tag === 0x30) watch.prevKv = reader.flag();
    else if (tag === 0x38) watchId = reader.signed();
    else if (tag === 0x40) fragment = reader.flag();
    else reader.unknown(tag, 8);
  }
  // Numbers that the protocol does not have filter nothing.
  const named = filters
    .map((number) => WATCH_FILTERS[number])
    .filter((name): name is WatchFilter => name !== undefined);
  if (named.length > 0) watch.filters = named;
  return { type: 'create', watch, watchId, fragment };
}

function writeRequest(writer: ProtoWriter, request: WatchStreamRequest): void {
  const mark = writer.size;
  switch (request.type) {
    case 'create':
      writeCreate(writer, request);
      return writer.message(1, mark);
    case 'cancel':
      writer.id(1, request.watchId);
      return writer.message(2, mark);
    case 'progress':
      return writer.message(3, mark);
    case 'none':
      return;
  }
}

function readRequest(reader: ProtoReader, end: number): WatchStreamRequest {
  let request: WatchStreamRequest = { type: 'none' };
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag !== 0x0a && tag !== 0x12 && tag !== 0x1a) {
      reader.unknown(tag, 3);
      continue;
    }
    const inner = reader.message();
    if (tag === 0x0a) request = readCreate(reader, inner);
    else request = tag === 0x12 ? readCancel(reader, inner) : readProgress(reader, inner);
    reader.leave(inner);
  }
  return request;
}

function readCancel(reader: ProtoReader, end: number): WatchStreamRequest {
  let watchId = 0n;
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x08) watchId = reader.signed();
    else reader.unknown(tag, 1);
  }
  return { type: 'cancel', watchId };
}

function readProgress(reader: ProtoReader, end: number): WatchStreamRequest {
  while (reader.more(end)) reader.unknown(reader.tag(), 0);
  return { type: 'progress' };
}

export const watchRequest = handCodec(writeRequest, readRequest);

/** One answer on a watch stream. Fields that are absent, false, 0 or empty are not sent. */
export type WatchMessage = {
  readonly header: ResponseHeader;
  readonly watchId: bigint;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compactRevision?: number;
  readonly cancelReason?: string;
  /** More parts of the same answer follow. */
  readonly fragment?: boolean;
  readonly events?: readonly Event[];
};

function writeMessage(writer: ProtoWriter, message: WatchMessage): void {
  writeEvents(writer, message.events ?? []);
  writer.flag(7, message.fragment);
  writer.text(6, message.cancelReason ?? '');
  writer.integer(5, message.compactRevision ?? 0);
  writer.flag(4, message.canceled);
  writer.flag(3, message.created);
  writer.id(2, message.watchId);
  writeHeader(writer, message.header);
}
const EVENTS_FIELD = 11;

function writeEvents(writer: ProtoWriter, events: readonly Event[]): void {
  for (let i = events.length - 1; i >= 0; i--) writeEvent(writer, EVENTS_FIELD, events[i] as Event);
}

function readMessage(reader: ProtoReader, end: number): WatchMessage {
  const message: { -readonly [K in keyof WatchMessage]: WatchMessage[K] } = {
    header: NO_HEADER,
    watchId: 0n,
  };
  const events: Event[] = [];
  while (reader.more(end)) {
    const tag = reader.tag();
    if (tag === 0x0a) message.header = readHeader(reader);
    else if (tag === 0x10) message.watchId = reader.signed();
    else if (tag === 0x18) message.created = reader.flag();
    else if (tag === 0x20) message.canceled = reader.flag();
    else if (tag === 0x28) message.compactRevision = reader.integer();
    else if (tag === 0x32) message.cancelReason = reader.text();
    else if (tag === 0x38) message.fragment = reader.flag();
    else if (tag === 0x5a) events.push(readEvent(reader));
    else reader.unknown(tag, 7);
  }
  if (events.length > 0) message.events = events;
  return message;
}

export const watchResponse = handCodec(writeMessage, readMessage);

/** A batch, encoded: its events once, and the frame that was sent last, for the next watch is likely to be like it. */
type Encoded = {
  readonly events: Buffer;
  header: ResponseHeader;
  watchId: bigint;
  frame: Buffer | undefined;
};

const encodedByBatch = new WeakMap<WatchBatch, Encoded>();
const scratch = new ProtoWriter();

/** A batch as a framed message: the same buffer for every stream whose watch has the same id and header. */
export function batchFrame(batch: WatchBatch, header: ResponseHeader, watchId: bigint): Buffer {
  let encoded = encodedByBatch.get(batch);
  if (encoded === undefined) {
    writeEvents(scratch, batch.events);
    encoded = { events: scratch.take(), header, watchId, frame: undefined };
    encodedByBatch.set(batch, encoded);
  }
  if (encoded.frame === undefined || encoded.watchId !== watchId || !sameHeader(encoded.header, header)) {
    scratch.raw(encoded.events);
    scratch.id(2, watchId);
    writeHeader(scratch, header);
    encoded.frame = scratch.takeFramed();
    encoded.header = header;
    encoded.watchId = watchId;
  }
  return encoded.frame;
}

function sameHeader(a: ResponseHeader, b: ResponseHeader): boolean {
  return (
    a === b ||
    (a.revision === b.revision &&
      a.raftTerm === b.raftTerm &&
      a.memberId === b.memberId &&
      a.clusterId === b.clusterId)
  );
}

/**
 * The frames of a batch whose watch allowed fragments: cut between events where the message would reach `maxBytes`;
 * all but the last say `fragment`.
 */
export function fragmentFrames(
  batch: WatchBatch,
  header: ResponseHeader,
  watchId: bigint,
  maxBytes: number,
): readonly Buffer[] {
  const whole = batchFrame(batch, header, watchId);
  if (whole.length - FRAME_BYTES < maxBytes || batch.events.length < 2) return [whole];
  const sizeOf = (events: readonly Event[]): number => {
    writeEvents(scratch, events);
    return scratch.take().length;
  };
  const base =
    whole.length - FRAME_BYTES - (encodedByBatch.get(batch) as Encoded).events.length + FRAGMENT_FLAG_BYTES;
  const parts: Event[][] = [[]];
  let size = base;
  for (const event of batch.events) {
    const more = sizeOf([event]);
    const part = parts[parts.length - 1] as Event[];
    if (part.length > 0 && size + more >= maxBytes) {
      parts.push([event]);
      size = base + more;
    } else {
      part.push(event);
      size += more;
    }
  }
  return parts.map((events, i) => {
    writeMessage(scratch, { header, watchId, fragment: i < parts.length - 1, events });
    return scratch.takeFramed();
  });
}
const FRAME_BYTES = 5;
const FRAGMENT_FLAG_BYTES = 2;
