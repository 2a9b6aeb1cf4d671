/** Conditional GET that may be held until its answer changes. */
import { deferred, type Timer } from '@muster/base';
import { KvError } from '@muster/contract';
import type { CallOptions, ResponseHeader, WatchHandle, WatchResponse } from '@muster/kv';
import { revisionOf, type V1Context } from './context.ts';
import { type Cursor, formatCursor, requireEpoch } from './cursors.ts';
import { type EtagList, matchesNone } from './etags.ts';
import type { KeySpan } from './keys.ts';

/** One look at the store: what the answer would be now. */
export type Look = {
  readonly header: ResponseHeader;
  /** Absent when there is nothing (a missing key). */
  readonly etag?: string;
  respond(): Response;
};

type Conditional = {
  readonly span: KeySpan;
  readonly look: () => Promise<Look>;
  readonly ifNoneMatch: EtagList | undefined;
  /** Milliseconds to hold the answer; absent is not at all. */
  readonly waitMs?: number;
  /** Hold until something changed after this cursor. */
  readonly since?: Cursor;
  readonly signal: () => AbortSignal | undefined;
  /** With the caller's token. */
  readonly call: CallOptions;
};

/** Answers, at once or when the selection has changed, or with 304 when it has not in time. */
export async function answerConditional(context: V1Context, request: Conditional): Promise<Response> {
  if (request.since) await requireEpoch(context, request.since);
  const first = await request.look();
  if (request.since) {
    return holdFrom(context, request, request.since.revision, first, () => true);
  }
  const { ifNoneMatch } = request;
  if (!ifNoneMatch || matchesNone(ifNoneMatch, first.etag)) return first.respond();
  if (request.waitMs === undefined) return notModified(context, first);
  return holdFrom(context, request, revisionOf(first.header), first, (look) =>
    matchesNone(ifNoneMatch, look.etag),
  );
}

async function holdFrom(
  context: V1Context,
  request: Conditional,
  revision: number,
  first: Look,
  changed: (look: Look) => boolean,
): Promise<Response> {
  const release = context.takeStream();
  const waitMs = Math.min(request.waitMs ?? 0, context.limits.longPollSeconds * 1000);
  // Held requests that began together must not all come back together.
  const deadline = context.clock.nowMs() + waitMs + context.prng.float() * (waitMs / 16);
  const change = new NextChange(context, request, revision + 1, deadline);
  try {
    let last = first;
    while ((await change.next()) === 'changed') {
      last = await request.look();
      if (changed(last)) return last.respond();
    }
    return notModified(context, last, Math.round(waitMs / 1000));
  } finally {
    change.close();
    release();
  }
}

function notModified(context: V1Context, look: Look, waitedSeconds?: number): Response {
  const headers = new Headers({
    'x-store-revision': String(revisionOf(look.header)),
    'x-store-epoch': context.epochOf(look.header),
    'x-store-cursor': formatCursor(context.epochOf(look.header), revisionOf(look.header)),
    vary: 'Accept',
  });
  if (look.etag !== undefined) headers.set('etag', look.etag);
  if (waitedSeconds !== undefined) headers.set('preference-applied', `wait=${waitedSeconds}`);
  return new Response(null, { status: 304, headers });
}

/** A watch reduced to "something happened since you asked last". Holds one bit, however much happens. */
class NextChange {
  readonly #context: V1Context;
  readonly #handle: WatchHandle;
  readonly #timer: Timer;
  readonly #signal: AbortSignal | undefined;
  readonly #forget: () => void;
  #dirty = false;
  #ended: 'timeout' | KvError | undefined;
  #wake = () => {};

  constructor(
    context: V1Context,
    { span, call, signal }: Pick<Conditional, 'span' | 'call' | 'signal'>,
    from: number,
    deadlineMs: number,
  ) {
    this.#context = context;
    this.#signal = signal();
    const take = (response: WatchResponse): boolean => {
      if (response.type === 'events') this.#note();
      if (response.type === 'canceled') this.#end(cancelReason(response.compactRevision, response.reason));
      // Full after the first: the rest of history need not be read for one bit.
      return response.type !== 'events';
    };
    this.#handle = context.api.watch({ ...span, startRevision: from }, take, context.watchCall(call));
    this.#timer = context.clock.schedule(deadlineMs - context.clock.nowMs(), () => this.#end('timeout'));
    this.#forget = context.onRelease(() => this.#end('timeout'));
    this.#signal?.addEventListener('abort', this.#onAbort);
  }

  /** `changed` at least once after every change; `timeout` when the time is up or the client is gone. */
  async next(): Promise<'changed' | 'timeout'> {
    if (!this.#dirty && this.#ended === undefined) {
      const { promise, resolve } = deferred<void>();
      this.#wake = resolve;
      await promise;
    }
    if (this.#dirty) {
      this.#dirty = false;
      this.#handle.resume();
      return 'changed';
    }
    if (this.#ended instanceof KvError) throw this.#ended;
    return 'timeout';
  }

  close(): void {
    this.#handle.cancel();
    this.#context.clock.cancel(this.#timer);
    this.#forget();
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  readonly #onAbort = (): void => this.#end('timeout');

  #note(): void {
    this.#dirty = true;
    this.#wake();
  }

  #end(reason: 'timeout' | KvError): void {
    this.#ended ??= reason;
    this.#wake();
  }
}

/** Why a watch was canceled, as an error out of the table. */
export function cancelReason(compactRevision: number, reason: string): KvError {
  if (compactRevision > 0) {
    return new KvError('COMPACTED', {
      detail: `history before revision ${compactRevision} is compacted: read again from the beginning`,
      extra: { compactRevision },
    });
  }
  return KvError.fromText(reason) ?? new KvError('WATCH_CANCELED', { detail: reason });
}
