/**
 * What a Kubernetes API server asks of its store, call by call (reference: Kubernetes' storage contract): optimistic
 * writes by transaction, lists in pages of one revision, a watch with previous values, the compaction race.
 */
import { create } from '@bufbuild/protobuf';
import type { Event, KeyValue } from '../../packages/wire/src/gen/kv_pb.js';
import {
  Compare_CompareResult as CompareResult,
  Compare_CompareTarget as CompareTarget,
  KV,
  Lease,
  Watch,
  WatchRequestSchema,
  type WatchResponse,
} from '../../packages/wire/src/gen/rpc_pb.js';
import type { RawClient } from './raw-client.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
export const text = (value: Uint8Array | undefined) => new TextDecoder().decode(value);
const COMPACT_KEY = bytes('compact_rev_key');

export type Written =
  | { readonly ok: true; readonly revision: bigint }
  /** Someone else was there first: what is there now. */
  | { readonly ok: false; readonly current: KeyValue | undefined };

export class KubeStore {
  readonly #client: RawClient;

  constructor(client: RawClient) {
    this.#client = client;
  }

  create(key: string, value: string, lease = 0n): Promise<Written> {
    return this.#guarded(key, 0n, {
      case: 'requestPut',
      value: { key: bytes(key), value: bytes(value), lease },
    });
  }

  update(key: string, modRevision: bigint, value: string): Promise<Written> {
    return this.#guarded(key, modRevision, {
      case: 'requestPut',
      value: { key: bytes(key), value: bytes(value) },
    });
  }

  delete(key: string, modRevision: bigint): Promise<Written> {
    return this.#guarded(key, modRevision, { case: 'requestDeleteRange', value: { key: bytes(key) } });
  }

  async get(key: string): Promise<KeyValue | undefined> {
    return (await this.#client.call(KV.method.range, { key: bytes(key) })).kvs[0];
  }

  /** One page; without `revision` the first one, whose header pins the rest. */
  async page(
    prefix: string,
    options: { readonly limit: number; readonly revision?: bigint; readonly after?: Uint8Array },
  ) {
    const { limit, revision = 0n, after } = options;
    const answer = await this.#client.call(KV.method.range, {
      key: after === undefined ? bytes(prefix) : new Uint8Array([...after, 0]),
      rangeEnd: endOf(prefix),
      limit: BigInt(limit),
      revision,
    });
    const revisionOf = answer.header?.revision ?? 0n;
    return { kvs: answer.kvs, more: answer.more, count: answer.count, revision: revisionOf };
  }

  /** Every page, all of one revision. */
  async list(prefix: string, limit = 500): Promise<{ kvs: KeyValue[]; revision: bigint }> {
    let page = await this.page(prefix, { limit });
    const { revision } = page;
    const kvs = [...page.kvs];
    while (page.more) {
      page = await this.page(prefix, { limit, revision, after: kvs.at(-1)?.key as Uint8Array });
      kvs.push(...page.kvs);
    }
    return { kvs, revision };
  }

  async count(prefix: string): Promise<bigint> {
    const request = { key: bytes(prefix), rangeEnd: endOf(prefix), countOnly: true };
    return (await this.#client.call(KV.method.range, request)).count;
  }

  async lease(seconds: number): Promise<bigint> {
    return (await this.#client.call(Lease.method.leaseGrant, { TTL: BigInt(seconds) })).ID;
  }

  /**
   * One round of the compaction that several API servers race for: the key's version is the round, its value the
   * revision at the time. The winner compacts at the revision of the round before.
   */
  async compactRound(version: bigint, revision: bigint) {
    const answer = await this.#client.call(KV.method.txn, {
      compare: [compare(CompareTarget.VERSION, 'version', COMPACT_KEY, version)],
      success: [
        { request: { case: 'requestPut', value: { key: COMPACT_KEY, value: bytes(String(revision)) } } },
      ],
      failure: [{ request: { case: 'requestRange', value: { key: COMPACT_KEY } } }],
    });
    const now = answer.header?.revision as bigint;
    if (!answer.succeeded) {
      const range = answer.responses[0]?.response;
      const [kv] = range?.case === 'responseRange' ? range.value.kvs : [];
      return { won: false as const, version: kv?.version ?? 0n, value: text(kv?.value), revision: now };
    }
    if (revision > 0n) await this.#client.call(KV.method.compact, { revision });
    return { won: true as const, version: version + 1n, revision: now };
  }

  /** From a revision on, with previous values and a leader demanded, as the API server watches. */
  watch(prefix: string, startRevision: bigint, at: number): KubeWatch {
    return new KubeWatch(this.#client, prefix, startRevision, at);
  }

  async #guarded(
    key: string,
    modRevision: bigint,
    success:
      | { case: 'requestPut'; value: { key: Uint8Array; value: Uint8Array; lease?: bigint } }
      | { case: 'requestDeleteRange'; value: { key: Uint8Array } },
  ): Promise<Written> {
    const answer = await this.#client.call(KV.method.txn, {
      compare: [compare(CompareTarget.MOD, 'modRevision', bytes(key), modRevision)],
      success: [{ request: success }],
      failure: [{ request: { case: 'requestRange', value: { key: bytes(key) } } }],
    });
    if (answer.succeeded) return { ok: true, revision: answer.header?.revision as bigint };
    const range = answer.responses[0]?.response;
    return { ok: false, current: range?.case === 'responseRange' ? range.value.kvs[0] : undefined };
  }
}

/** The messages of one watch, waited for one condition at a time. */
export class KubeWatch {
  readonly responses: WatchResponse[] = [];
  error: Error | undefined;
  #stream;
  #wake: () => void = () => {};

  constructor(client: RawClient, prefix: string, startRevision: bigint, at: number) {
    this.#stream = client.stream(Watch.method.watch, { hasleader: 'true' }, at);
    this.#stream.on('data', (response: WatchResponse) => {
      this.responses.push(response);
      this.#wake();
    });
    this.#stream.on('error', (error: Error) => {
      this.error = error;
      this.#wake();
    });
    this.#stream.write(
      create(WatchRequestSchema, {
        requestUnion: {
          case: 'createRequest',
          value: {
            key: bytes(prefix),
            rangeEnd: endOf(prefix),
            startRevision,
            prevKv: true,
            progressNotify: true,
          },
        },
      }),
    );
  }

  get events(): Event[] {
    return this.responses.flatMap((response) => response.events);
  }

  requestProgress(): void {
    this.#stream.write(create(WatchRequestSchema, { requestUnion: { case: 'progressRequest', value: {} } }));
  }

  /** Resolves when `done` holds; rejects when the stream broke or nothing comes for ten seconds. */
  async until(done: () => boolean, what: string): Promise<void> {
    while (!done()) {
      if (this.error) throw this.error;
      const more = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), 10_000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve(true);
        };
      });
      if (!more) throw new Error(`waited for ${what}; ${this.responses.length} responses came`);
    }
  }

  close(): void {
    this.#stream.on('error', () => {});
    this.#stream.cancel();
  }
}

function compare(target: CompareTarget, field: 'version' | 'modRevision', key: Uint8Array, value: bigint) {
  return { result: CompareResult.EQUAL, target, key, targetUnion: { case: field, value } };
}

function endOf(prefix: string): Uint8Array {
  const end = bytes(prefix);
  end[end.length - 1] = (end.at(-1) as number) + 1;
  return end;
}
