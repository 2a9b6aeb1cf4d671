import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { concatBytes, utf8, utf8Text } from '@muster/base';
import { ERRORS, type ErrorCode, KvError } from '@muster/contract';
import type {
  CoreApi,
  Event,
  KeyValue,
  PutRequest,
  RequestOp,
  WatchHandle,
  WatchRequest,
  WatchResponse,
} from '@muster/kv';

/** What some target cannot do; a case that needs it is skipped there, with the target's reason. */
type Feature =
  | 'progress-request'
  | 'watch-back-pressure'
  | 'watch-nothing-held'
  | 'one-member'
  | 'watch-future-progress'
  | 'watch-negative-start-refused'
  | 'tombstone-kept-at-compaction'
  | 'hashkv'
  | 'hashkv-at-compaction'
  | 'alarm-header'
  | 'alarm-none-ignored';

type Area = 'kv' | 'range' | 'txn' | 'compact' | 'watch' | 'lease' | 'cluster' | 'errors';

type Running = {
  readonly api: CoreApi;
  /** Lets time pass for the target: really, or on its own clock. */
  passTime(ms: number): Promise<void>;
  stop(): Promise<void>;
};

export type Target = {
  readonly name: string;
  /** Features that are missing, each with the reason. */
  readonly lacks: Partial<Record<Feature, string>>;
  /** All areas when absent. */
  readonly areas?: readonly Area[];
  /** An empty store. Several may run one after the other. */
  start(): Promise<Running>;
};

export type Case = {
  readonly area: Area;
  readonly name: string;
  readonly needs: readonly Feature[];
  /** Gets a store of its own, at revision 1. */
  readonly fresh: boolean;
  readonly run: (c: Conformance) => Promise<void>;
};

type CaseOptions = { readonly needs?: readonly Feature[]; readonly fresh?: boolean };

/** Collects the cases of one area. */
export function area(name: Area): { cases: Case[]; add: AddCase } {
  const cases: Case[] = [];
  const add: AddCase = (title, options, run) => {
    const [given, body] = typeof options === 'function' ? [{}, options] : [options, run];
    assert.ok(body, `case without a body: ${title}`);
    cases.push({ area: name, name: title, needs: given.needs ?? [], fresh: given.fresh ?? false, run: body });
  };
  return { cases, add };
}

type AddCase = (title: string, options: CaseOptions | Case['run'], run?: Case['run']) => void;

/** How long anything that should happen may take before a case gives up. */
const PATIENCE_MS = 10_000;

/** A watch with what it got so far. */
export class Watched {
  readonly responses: WatchResponse[] = [];
  /** What the sink answers from now on. */
  room = true;
  handle!: WatchHandle;
  #wake: () => void = () => {};

  take(response: WatchResponse): boolean {
    this.responses.push(response);
    this.#wake();
    return this.room;
  }

  get events(): Event[] {
    return this.responses.flatMap((r) => (r.type === 'events' ? r.batch.events : []));
  }

  /** Resolves as soon as `done` holds. */
  async until(done: () => boolean, what: string): Promise<void> {
    const deadline = setTimeout(() => this.#wake(), PATIENCE_MS);
    const end = performance.now() + PATIENCE_MS;
    while (!done()) {
      if (performance.now() >= end) {
        throw new assert.AssertionError({ message: `waited for ${what}; got ${this.shown().join(' | ')}` });
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(deadline);
  }

  async responsesUntil(count: number): Promise<readonly WatchResponse[]> {
    await this.until(() => this.responses.length >= count, `${count} responses`);
    return this.responses;
  }

  async eventsUntil(count: number): Promise<readonly Event[]> {
    await this.until(() => this.events.length >= count, `${count} events`);
    return this.events;
  }

  shown(): string[] {
    return this.responses.map((r) => {
      if (r.type === 'events') return `events ${r.batch.events.map((e) => e.kv.modRevision).join(',')}`;
      return r.type === 'canceled' ? `canceled ${r.compactRevision} ${r.reason}` : r.type;
    });
  }
}

/** What a case works with: the target and short ways to call it, on keys of the case's own. */
export class Conformance {
  readonly api: CoreApi;
  readonly target: Running;
  readonly prefix: string;
  readonly #watches: Watched[] = [];

  constructor(target: Running, prefix: string) {
    this.target = target;
    this.api = target.api;
    this.prefix = prefix;
  }

  /** A key under the case's prefix. */
  key(name: string): Uint8Array {
    return utf8(this.prefix + name);
  }

  /** The case's whole key range. */
  get all(): { readonly key: Uint8Array; readonly rangeEnd: Uint8Array } {
    return { key: utf8(this.prefix), rangeEnd: utf8(`${this.prefix.slice(0, -1)}0`) };
  }

  /** Names under the case's prefix. */
  names(kvs: readonly KeyValue[]): string[] {
    return kvs.map((kv) => this.name(kv.key));
  }

  name(key: Uint8Array): string {
    const text = utf8Text(key);
    assert.ok(text.startsWith(this.prefix), `key of another case: ${text}`);
    return text.slice(this.prefix.length);
  }

  /** Puts; answers the new revision. */
  async put(name: string, value = 'v', more: Partial<PutRequest> = {}): Promise<number> {
    return (await this.api.put({ key: this.key(name), value: utf8(value), ...more })).revision;
  }

  async get(name: string, revision = 0): Promise<KeyValue | undefined> {
    return (await this.api.range({ key: this.key(name), revision })).kvs[0];
  }

  async delete(name: string): Promise<number> {
    return (await this.api.deleteRange({ key: this.key(name) })).revision;
  }

  async revision(): Promise<number> {
    return (await this.api.range({ key: utf8('\0none') })).revision;
  }

  async grant(ttlSeconds = 60, id = 0n): Promise<bigint> {
    return (await this.api.leaseGrant({ id, ttlSeconds })).id;
  }

  putOp(name: string, value = 'v', more: Partial<PutRequest> = {}): RequestOp {
    return { type: 'put', put: { key: this.key(name), value: utf8(value), ...more } };
  }

  getOp(name: string, more: object = {}): RequestOp {
    return { type: 'range', range: { key: this.key(name), ...more } };
  }

  deleteOp(name: string, end?: string): RequestOp {
    const rangeEnd = end === undefined ? {} : { rangeEnd: end === '\0' ? utf8('\0') : this.key(end) };
    return { type: 'deleteRange', deleteRange: { key: this.key(name), ...rangeEnd } };
  }

  /** Starts a watch and, unless told otherwise, waits until it is created. */
  async watch(
    request: Partial<WatchRequest>,
    options: { wait?: boolean; room?: boolean } = {},
  ): Promise<Watched> {
    const watched = new Watched();
    watched.room = options.room ?? true;
    let inside = true;
    watched.handle = this.api.watch({ key: this.key(''), ...request }, (response) => {
      assert.ok(!inside, 'a response from inside watch()');
      return watched.take(response);
    });
    inside = false;
    this.#watches.push(watched);
    if (options.wait ?? true) await watched.responsesUntil(1);
    return watched;
  }

  /** Fails unless `call` rejects with this error, text and all. */
  async rejects(code: ErrorCode, call: Promise<unknown>): Promise<void> {
    await assert.rejects(call, (error: unknown) => {
      assert.ok(error instanceof KvError, `not a KvError: ${String(error)}`);
      assert.equal(error.message, ERRORS[code].text);
      return true;
    });
  }

  end(): void {
    for (const watched of this.#watches) watched.handle.cancel();
  }
}

/** Joins bytes and text. */
export const joined = (...parts: (string | Uint8Array)[]): Uint8Array =>
  concatBytes(...parts.map((part) => (typeof part === 'string' ? utf8(part) : part)));

/** Registers every case of `all` as a test against one target, and prints what ran and what did not. */
export function runConformance(target: Target, all: readonly Case[]): void {
  const cases = all.filter((c) => target.areas === undefined || target.areas.includes(c.area));
  describe(`conformance of ${target.name}`, () => {
    let shared: Promise<Running> | undefined;
    let ran = 0;
    const skipped: string[] = [];
    cases.forEach((one, index) => {
      const reason = one.needs.map((need) => target.lacks[need]).find((text) => text !== undefined);
      const title = `${one.area}: ${one.name}`;
      if (reason !== undefined) {
        skipped.push(`${title} (${reason})`);
        test(title, { skip: reason }, () => {});
        return;
      }
      test(title, async () => {
        if (!one.fresh) shared ??= target.start();
        const running = one.fresh ? await target.start() : await (shared as Promise<Running>);
        const c = new Conformance(running, `t${String(index).padStart(3, '0')}/`);
        try {
          await one.run(c);
        } finally {
          c.end();
          if (one.fresh) await running.stop();
        }
        ran++;
      });
    });
    test('summary', async () => {
      await (await shared)?.stop();
      console.log(`conformance of ${target.name}: ${ran} cases passed, ${skipped.length} skipped`);
      for (const line of skipped) console.log(`  skipped: ${line}`);
      assert.equal(ran + skipped.length, cases.length, 'every case passed or was skipped by name');
    });
  });
}
