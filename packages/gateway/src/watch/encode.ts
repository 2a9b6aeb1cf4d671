/** Event batches as JSON text, written once for all sockets and streams that get the same batch. */
import { binaryString } from '@muster/base';
import type { Event, WatchBatch } from '@muster/kv';
import type { Selection } from './selection.ts';

/** Ids and encodings whose frames of one revision are kept; beyond it they are built for each socket. */
const FRAMES_CACHED_MAX = 64;

/** One revision (or, coalesced, several): the texts of its events' JSON arrays, one for each frame. */
export class EncodedRevision {
  readonly rev: number;
  readonly parts: readonly string[];
  readonly #frames = new Map<string, readonly Buffer[]>();

  constructor(rev: number, parts: readonly string[]) {
    this.rev = rev;
    this.parts = parts;
  }

  /** The frames built by `build`, the same buffers for every caller that gives the same `key`. */
  frames(key: string, build: (events: string, part: number, parts: number) => Buffer): readonly Buffer[] {
    const known = this.#frames.get(key);
    if (known) return known;
    const built = this.parts.map((events, i) => build(events, i + 1, this.parts.length));
    if (this.#frames.size < FRAMES_CACHED_MAX) this.#frames.set(key, built);
    return built;
  }
}

/** The cache goes with the batch: when the hub and the last socket let go of it, so does everything here. */
const cache = new WeakMap<WatchBatch, Map<string, readonly EncodedRevision[]>>();

/**
 * The batch's revisions that have something for the selection, in order. With `merge` all of them are one, with the
 * last event of each key.
 */
export function encodeBatch(
  batch: WatchBatch,
  selection: Selection,
  merge: boolean,
  partBytes: number,
): readonly EncodedRevision[] {
  let shapes = cache.get(batch);
  if (!shapes) cache.set(batch, (shapes = new Map()));
  const key = merge ? `${selection.shape} merged` : selection.shape;
  let encoded = shapes.get(key);
  if (!encoded)
    shapes.set(
      key,
      (encoded = merge ? merged(batch, selection, partBytes) : each(batch, selection, partBytes)),
    );
  return encoded;
}

function each(batch: WatchBatch, selection: Selection, partBytes: number): EncodedRevision[] {
  const out: EncodedRevision[] = [];
  const { events } = batch;
  for (let at = 0; at < events.length; ) {
    const rev = (events[at] as Event).kv.modRevision;
    const texts: string[] = [];
    for (; events[at]?.kv.modRevision === rev; at++) {
      const text = selection.event(events[at] as Event);
      if (text !== undefined) texts.push(text);
    }
    if (texts.length > 0) out.push(new EncodedRevision(rev, jsonArrays(texts, partBytes)));
  }
  return out;
}

function merged(batch: WatchBatch, selection: Selection, partBytes: number): EncodedRevision[] {
  const last = new Map<string, string>();
  for (const event of batch.events) {
    const text = selection.event(event);
    if (text === undefined) continue;
    const key = binaryString(event.kv.key);
    last.delete(key);
    last.set(key, text);
  }
  if (last.size === 0) return [];
  return [new EncodedRevision(batch.lastRevision, jsonArrays([...last.values()], partBytes))];
}

/** Texts gathered into JSON arrays of about `partBytes` characters at most; one text is never cut. */
export function jsonArrays(texts: readonly string[], partBytes: number): string[] {
  const out: string[] = [];
  let part: string[] = [];
  let size = 0;
  for (const text of texts) {
    if (part.length > 0 && size + text.length > partBytes) {
      out.push(`[${part.join(',')}]`);
      part = [];
      size = 0;
    }
    part.push(text);
    size += text.length;
  }
  out.push(`[${part.join(',')}]`);
  return out;
}
