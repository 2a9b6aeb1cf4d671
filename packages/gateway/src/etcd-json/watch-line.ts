/** Watch responses as lines. A batch is encoded once, however many streams it goes to. */
import type { Event, KeyValue, ResponseHeader, WatchBatch } from '@muster/kv';
import { headerJson } from './json-members.ts';
import { keyValueJson } from './responses.ts';
import { goString } from './status-error.ts';
import { resultLine } from './stream.ts';

type WatchMessage = {
  readonly header: ResponseHeader;
  readonly watchId: bigint;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compactRevision?: number;
  readonly cancelReason?: string;
};

/** A response without events. */
export function watchMessageLine(message: WatchMessage): Buffer {
  const { watchId, compactRevision, cancelReason } = message;
  let json = `{"header":${headerJson(message.header)}`;
  if (watchId !== 0n) json += `,"watch_id":"${watchId}"`;
  if (message.created) json += ',"created":true';
  if (message.canceled) json += ',"canceled":true';
  if (compactRevision) json += `,"compact_revision":"${compactRevision}"`;
  if (cancelReason) json += `,"cancel_reason":${goString(cancelReason)}`;
  return resultLine(`${json}}`);
}

function eventJson(event: Event): string {
  const type = event.type === 'put' ? '' : '"type":"DELETE",';
  const prevKv = event.prevKv === undefined ? '' : `,"prev_kv":${keyValueJson(event.prevKv)}`;
  return `{${type}"kv":${keyValueJson(event.kv)}${prevKv}}`;
}

/** What one batch looks like encoded: its events once, and the line for a first watch, which nearly all of them are. */
type Encoded = { readonly events: string; header: ResponseHeader; line: Buffer | undefined };

const encodedByBatch = new WeakMap<WatchBatch, Encoded>();

/** The line for a batch: the same object for every stream whose watch has the id 0 and whose header is equal. */
export function watchBatchLine(batch: WatchBatch, header: ResponseHeader, watchId: bigint): Buffer {
  let encoded = encodedByBatch.get(batch);
  if (encoded === undefined) {
    encoded = { events: batch.events.map(eventJson).join(','), header, line: undefined };
    encodedByBatch.set(batch, encoded);
  }
  if (watchId !== 0n) return eventsLine(header, watchId, encoded.events, false);
  if (encoded.line === undefined || !sameHeader(encoded.header, header)) {
    encoded.header = header;
    encoded.line = eventsLine(header, 0n, encoded.events, false);
  }
  return encoded.line;
}

function eventsLine(header: ResponseHeader, watchId: bigint, events: string, fragment: boolean): Buffer {
  const id = watchId === 0n ? '' : `,"watch_id":"${watchId}"`;
  const more = fragment ? ',"fragment":true' : '';
  return resultLine(`{"header":${headerJson(header)}${id}${more},"events":[${events}]}`);
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
 * The lines of a batch whose watcher asked for fragments: cut between events wherever the protobuf encoding, which is
 * what etcd measures, would reach `maxBytes`. All but the last say `fragment`.
 */
export function watchFragmentLines(
  batch: WatchBatch,
  header: ResponseHeader,
  watchId: bigint,
  maxBytes: number,
): Buffer[] {
  const base = headerSize(header) + integerField(watchId) + 2;
  const parts: Event[][] = [[]];
  let size = base;
  for (const event of batch.events) {
    const part = parts[parts.length - 1] as Event[];
    const more = lengthField(eventSize(event));
    if (part.length > 0 && size + more >= maxBytes) {
      parts.push([event]);
      size = base + more;
    } else {
      part.push(event);
      size += more;
    }
  }
  if (parts.length === 1) return [watchBatchLine(batch, header, watchId)];
  return parts.map((part, i) =>
    eventsLine(header, watchId, part.map(eventJson).join(','), i < parts.length - 1),
  );
}

// Sizes as protobuf would have them; every field here has a one-byte tag.

function varintSize(value: number | bigint): number {
  if (value < 0) return 10;
  let size = 1;
  for (let rest = Number(value); rest >= 128; rest /= 128) size++;
  return size;
}

function integerField(value: number | bigint): number {
  return value === 0 || value === 0n ? 0 : 1 + varintSize(value);
}

function lengthField(length: number): number {
  return 1 + varintSize(length) + length;
}

function bytesField(bytes: Uint8Array): number {
  return bytes.length === 0 ? 0 : lengthField(bytes.length);
}

function keyValueSize(kv: KeyValue): number {
  return (
    bytesField(kv.key) +
    integerField(kv.createRevision) +
    integerField(kv.modRevision) +
    integerField(kv.version) +
    bytesField(kv.value) +
    integerField(kv.lease)
  );
}

function eventSize(event: Event): number {
  const type = event.type === 'put' ? 0 : 2;
  const prevKv = event.prevKv === undefined ? 0 : lengthField(keyValueSize(event.prevKv));
  return type + lengthField(keyValueSize(event.kv)) + prevKv;
}

function headerSize(header: ResponseHeader): number {
  const size =
    integerField(header.clusterId) +
    integerField(header.memberId) +
    integerField(header.revision ?? 0) +
    integerField(header.raftTerm);
  return lengthField(size);
}
