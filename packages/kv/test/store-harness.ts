/** What the store's tests share: a machine on a memory engine, driven and read as text. Not part of the exports. */
import assert from 'node:assert/strict';
import { utf8, utf8Text } from '@muster/base';
import { KvError } from '@muster/contract';
import { type Command, decodeCommand, encodeCommand } from '../src/commands.ts';
import { MemoryEngine } from '../src/memory-engine.ts';
import { type ApplyOutcome, StateMachine, type StateMachineOptions } from '../src/state-machine.ts';
import type {
  Compare,
  DeleteRangeRequest,
  Event,
  KeyValue,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '../src/types.ts';

/** `key=value@mod`, with what is out of the ordinary after it: create revision, version and lease. */
export function kvText(kv: KeyValue | undefined): string {
  if (kv === undefined) return 'nothing';
  const { createRevision, modRevision, version, lease } = kv;
  const history = createRevision === modRevision && version === 1 ? '' : ` c${createRevision} v${version}`;
  return `${utf8Text(kv.key)}=${utf8Text(kv.value)}@${modRevision}${history}${lease === 0n ? '' : ` l${lease}`}`;
}

export function eventText({ type, kv, prevKv }: Event): string {
  const what = type === 'put' ? kvText(kv) : `${utf8Text(kv.key)} deleted@${kv.modRevision}`;
  return prevKv === undefined ? what : `${what} (was ${kvText(prevKv)})`;
}

export type RangeText = Omit<Partial<RangeRequest>, 'key' | 'rangeEnd'> & { readonly end?: string };
export type PutText = Omit<Partial<PutRequest>, 'key' | 'value'>;

export const FROM_KEY = '\0';

export function rangeRequest(key: string, { end, ...rest }: RangeText = {}): RangeRequest {
  return { key: utf8(key), ...(end === undefined ? {} : { rangeEnd: utf8(end) }), ...rest };
}

export function putRequest(key: string, value: string | undefined, options: PutText = {}): PutRequest {
  return { key: utf8(key), ...(value === undefined ? {} : { value: utf8(value) }), ...options };
}

export function deleteRequest(key: string, end?: string, prevKv = false): DeleteRangeRequest {
  return { key: utf8(key), ...(end === undefined ? {} : { rangeEnd: utf8(end) }), prevKv };
}

export const op = {
  range: (key: string, options?: RangeText): RequestOp => ({
    type: 'range',
    range: rangeRequest(key, options),
  }),
  put: (key: string, value: string | undefined = '', options?: PutText): RequestOp => ({
    type: 'put',
    put: putRequest(key, value, options),
  }),
  delete: (key: string, end?: string, prevKv?: boolean): RequestOp => ({
    type: 'deleteRange',
    deleteRange: deleteRequest(key, end, prevKv),
  }),
  txn: (request: Partial<TxnRequest>): RequestOp => ({ type: 'txn', txn: txnRequest(request) }),
};

export function txnRequest(request: Partial<TxnRequest>): TxnRequest {
  return { compare: [], success: [], failure: [], ...request };
}

export function compare(
  key: string,
  target: Compare['target'],
  result: Compare['result'],
  operand: number | bigint | string | undefined,
  end?: string,
): Compare {
  const base = { key: utf8(key), target, result, ...(end === undefined ? {} : { rangeEnd: utf8(end) }) };
  if (operand === undefined) return base;
  if (typeof operand === 'string') return { ...base, operand: { kind: 'value', bytes: utf8(operand) } };
  if (typeof operand === 'bigint') return { ...base, operand: { kind: 'lease', id: operand } };
  const kind = target === 'create' || target === 'mod' ? target : 'version';
  return { ...base, operand: { kind, number: operand } };
}

/** Runs `body` and answers the code of the KvError that it must throw. */
export function errorCode(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    assert.ok(error instanceof KvError, String(error));
    return error.code;
  }
  return 'no error';
}

type Result<T extends Command['type']> = Extract<
  Extract<ApplyOutcome, { result: unknown }>['result'],
  { type: T }
>;

export class Harness {
  engine = new MemoryEngine();
  machine: StateMachine;
  readonly #options: StateMachineOptions;
  #tag = 0;

  constructor(options: Partial<StateMachineOptions> = {}) {
    this.#options = { minLeaseTtlSeconds: 2, ...options };
    this.machine = new StateMachine(this.engine, this.#options);
  }

  /** Through the bytes of the log, as in life. */
  apply(command: Command): ApplyOutcome {
    const bytes = encodeCommand({ member: 1n, sequence: ++this.#tag }, command);
    return this.machine.apply(decodeCommand(bytes).command);
  }

  /** Applies a command that must succeed. */
  run<T extends Command['type']>(command: Command & { type: T }): Result<T> {
    const outcome = this.apply(command);
    if ('error' in outcome) throw outcome.error;
    return outcome.result as Result<T>;
  }

  put(key: string, value: string | undefined = '', options?: PutText): number {
    return this.run({ type: 'put', put: putRequest(key, value, options) }).put.revision;
  }

  delete(key: string, end?: string): number {
    return this.run({ type: 'deleteRange', deleteRange: deleteRequest(key, end) }).deleteRange.deleted;
  }

  txn(request: Partial<TxnRequest>): Result<'txn'>['txn'] {
    return this.run({ type: 'txn', txn: txnRequest(request) }).txn;
  }

  grant(id: bigint, ttlSeconds = 60): number {
    return this.run({ type: 'leaseGrant', id, ttlSeconds }).ttlSeconds;
  }

  compact(revision: number, finish = true): void {
    this.run({ type: 'compact', revision, physical: false });
    if (finish) while (!this.machine.compactStep());
  }

  seal(): void {
    this.machine.flushMeta();
    this.engine.commit(++this.#tag);
  }

  /** Goes on with what a crash leaves: the last sealed state. */
  crash(): void {
    this.engine = this.engine.crashCopy();
    this.machine = new StateMachine(this.engine, this.#options);
  }

  get(key: string, revision = 0): string {
    return kvText(this.machine.range(rangeRequest(key, { revision })).kvs[0]);
  }

  list(key: string, options?: RangeText): string[] {
    return this.machine.range(rangeRequest(key, options)).kvs.map(kvText);
  }

  all(revision = 0): string[] {
    return this.list('\0', { end: FROM_KEY, revision });
  }

  events(from: number, options: { key?: string; end?: string; maxRevisions?: number } = {}): string[] {
    const { key, end, maxRevisions = 1000 } = options;
    const range =
      key === undefined ? {} : { key: utf8(key), ...(end === undefined ? {} : { rangeEnd: utf8(end) }) };
    const { currentRevision } = this.machine;
    const found = this.machine.eventsBetween(from, currentRevision, {
      ...range,
      maxRevisions,
      maxBytes: 1e9,
    });
    return found.events.map(eventText);
  }

  /** Records that the engine holds, to see what compaction removed. */
  records(table: 'revisions' | 'keys' | 'leaseKeys'): number {
    return [...this.engine.iterate(table)].length;
  }
}
