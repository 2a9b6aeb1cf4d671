/** Clients of a simulated cluster that remember what they were told, and notice when it does not fit together. */
import assert from 'node:assert/strict';
import { type Prng, utf8, utf8Text } from '@muster/base';
import type { Compare, WatchHandle, WatchResponse } from '@muster/kv';
import type { SimCluster, SimMember } from './sim-cluster.ts';

/** One register with one writer at a time, of growing values: a read sees at least what was acknowledged, or read, before it began. */
export class Register {
  readonly #key = utf8('register');
  readonly #cluster: SimCluster;
  #next = 0;
  #least = 0;
  /** The life of the member that the running write went to: it may end without an answer. */
  #writingTo: unknown;
  readonly problems: string[] = [];
  reads = 0;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  #isAlive(life: unknown): boolean {
    return this.#cluster.members.some((m) => m.member === life);
  }

  async begin(m: SimMember): Promise<void> {
    await this.#cluster.wait(m.api.put({ key: this.#key, value: utf8('0') }));
  }

  write(m: SimMember): void {
    if (this.#writingTo !== undefined && this.#isAlive(this.#writingTo)) return;
    this.#writingTo = m.member;
    const value = ++this.#next;
    const text = utf8(String(value).padStart(9, '0'));
    // One whose answer was lost may still come, but not on top of a later one.
    const isLater = {
      key: this.#key,
      target: 'value',
      result: 'less',
      operand: { kind: 'value', bytes: text },
    };
    const put = { type: 'put', put: { key: this.#key, value: text } } as const;
    m.api.txn({ compare: [isLater as Compare], success: [put], failure: [] }).then(
      ({ succeeded }) => {
        if (succeeded) this.#least = Math.max(this.#least, value);
        this.#writingTo = undefined;
      },
      () => {
        this.#writingTo = undefined;
      },
    );
  }

  read(m: SimMember): void {
    const least = this.#least;
    m.api.range({ key: this.#key }).then(
      ({ kvs }) => {
        const value = kvs[0] ? Number(utf8Text(kvs[0].value)) : 0;
        this.reads++;
        if (value < least) this.problems.push(`m${m.id} read ${value} after ${least} was known`);
        this.#least = Math.max(this.#least, value);
      },
      () => {},
    );
  }
}

const LEASE = 4711n;
const LEASE_SECONDS = 4;

/** A lease that is renewed through any member: its key is there for its time from each renewal on. */
export class Renewals {
  readonly #cluster: SimCluster;
  readonly #key = utf8('leased');
  #granted = false;
  /** The key was seen gone: the lease is over for good. */
  over = false;
  #aliveUntilMs = 0;
  readonly problems: string[] = [];
  renewals = 0;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  async grant(m: SimMember): Promise<void> {
    const started = this.#now();
    await this.#cluster.wait(m.api.leaseGrant({ id: LEASE, ttlSeconds: LEASE_SECONDS }));
    await this.#cluster.wait(m.api.put({ key: this.#key, value: utf8('x'), lease: LEASE }));
    this.#granted = true;
    this.#extend(started);
  }

  renew(m: SimMember): void {
    if (!this.#granted || this.over) return;
    const started = this.#now();
    m.api.leaseKeepAlive({ id: LEASE }).then(
      ({ ttlSeconds }) => {
        if (ttlSeconds > 0) {
          this.renewals++;
          this.#extend(started);
        } else this.#gone(`m${m.id} renewed nothing`, this.#now());
      },
      () => {},
    );
  }

  check(m: SimMember): void {
    if (!this.#granted || this.over) return;
    m.api.range({ key: this.#key }).then(
      ({ kvs }) => {
        if (kvs.length === 0) this.#gone(`m${m.id} has no leased key`, this.#now());
      },
      () => {},
    );
  }

  #gone(what: string, byMs: number): void {
    if (byMs < this.#aliveUntilMs) {
      this.problems.push(`${what} at ${byMs}, its lease was promised until ${this.#aliveUntilMs}`);
    }
    this.over = true;
  }

  #extend(fromMs: number): void {
    this.#aliveUntilMs = Math.max(this.#aliveUntilMs, fromMs + LEASE_SECONDS * 1000);
  }

  #now(): number {
    return this.#cluster.clock.nowMs();
  }
}

/** Watches a range through one life of a member after the other, with a sink that is full now and then. */
export class Follower {
  readonly #cluster: SimCluster;
  readonly #prng: Prng;
  readonly seen: { readonly revision: number; readonly text: string }[] = [];
  readonly problems: string[] = [];
  #handle: WatchHandle | undefined;
  #life: unknown;

  constructor(cluster: SimCluster, prng: Prng) {
    this.#cluster = cluster;
    this.#prng = prng;
  }

  /** (Re)starts behind the last revision seen, when the member's process is another one. */
  follow(m: SimMember): void {
    if (!m.member || this.#life === m.member) return;
    const life = m.member;
    this.#life = life;
    const startRevision = (this.seen.at(-1)?.revision ?? 1) + 1;
    this.#handle = m.api.watch({ key: utf8('k'), rangeEnd: utf8('l'), startRevision }, (response) =>
      this.#life === life ? this.#take(response, life) : true,
    );
  }

  #take(response: WatchResponse, life: unknown): boolean {
    if (response.type === 'canceled') this.problems.push(`canceled: ${response.reason}`);
    if (response.type !== 'events') return true;
    for (const { kv } of response.batch.events) {
      this.seen.push({ revision: kv.modRevision, text: utf8Text(kv.key) });
    }
    if (!this.#prng.chance(0.2)) return true;
    const handle = this.#handle;
    this.#cluster.clock.schedule(this.#prng.int(1, 100), () => {
      if (this.#life === life) handle?.resume();
    });
    return false;
  }

  /** Every key was written once, so that the final state tells what there was to see. */
  assertSaw(expected: readonly { readonly revision: number; readonly text: string }[]): void {
    assert.deepEqual(this.problems, []);
    assert.deepEqual(this.seen, expected);
  }
}
