/** The store, as simple as it can be told: a full copy of the state for every revision. For tests only. */
import { utf8Text } from '@muster/base';
import type { Command } from '../src/commands.ts';
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  SortTarget,
  TxnRequest,
} from '../src/types.ts';

type ModelKv = {
  readonly key: string;
  readonly value: string;
  readonly create: number;
  readonly mod: number;
  readonly version: number;
  readonly lease: bigint;
};
type State = Map<string, ModelKv>;
type ModelEvent = { readonly key: string; readonly kv: ModelKv | undefined };
export type ModelOutcome = {
  readonly error?: string;
  readonly answer?: string;
  readonly events: readonly string[];
};

class Refused extends Error {}

const text = (bytes: Uint8Array | undefined): string => utf8Text(bytes ?? new Uint8Array(0));

const modelText = (kv: ModelKv | undefined): string => {
  if (kv === undefined) return 'nothing';
  const { key, value, create, mod, version, lease } = kv;
  const history = create === mod && version === 1 ? '' : ` c${create} v${version}`;
  return `${key}=${value}@${mod}${history}${lease === 0n ? '' : ` l${lease}`}`;
};

function inRange(key: string, from: string, rangeEnd: string): boolean {
  if (rangeEnd === '') return key === from;
  return key >= from && (rangeEnd === '\0' || key < rangeEnd);
}

/** A revision being written, on a copy of the newest state. */
class Draft {
  rangeRefused: Refused | undefined;
  readonly before: State;
  readonly state: State;
  readonly events: ModelEvent[] = [];
  readonly revision: number;

  constructor(before: State, revision: number) {
    this.before = before;
    this.state = new Map(before);
    this.revision = revision;
  }

  get visible(): number {
    return this.events.length > 0 ? this.revision : this.revision - 1;
  }
}

export class StoreModel {
  compactRevision = -1;
  leases = new Map<bigint, number>();
  /** By revision; the first two stand for 0 and 1, when there was nothing. */
  #states: State[] = [new Map(), new Map()];
  #events: ModelEvent[][] = [[], []];

  get currentRevision(): number {
    return this.#states.length - 1;
  }

  clone(): StoreModel {
    const copy = new StoreModel();
    copy.compactRevision = this.compactRevision;
    copy.leases = new Map(this.leases);
    copy.#states = [...this.#states];
    copy.#events = [...this.#events];
    return copy;
  }

  keysOf(lease: bigint): string[] {
    return [...this.#newest().values()]
      .filter((kv) => kv.lease === lease)
      .map((kv) => kv.key)
      .sort();
  }

  apply(command: Command): ModelOutcome {
    try {
      const draft = new Draft(this.#newest(), this.currentRevision + 1);
      const answer = this.#run(draft, command);
      if (draft.events.length > 0) {
        this.#states.push(draft.state);
        this.#events.push(draft.events);
      }
      const events = draft.events.map((event) => this.#eventText(draft.before, draft.revision, event));
      return { answer, events };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return { error: error.message, events: [] };
    }
  }

  range(request: RangeRequest): string {
    const asked = request.revision ?? 0;
    try {
      if (asked > 0) this.#checkReadable(asked);
    } catch (error) {
      return (error as Error).message;
    }
    const revision = asked > 0 ? asked : this.currentRevision;
    return rangeText(this.#states[revision] as State, request, this.currentRevision);
  }

  events(from: number, key: string, rangeEnd: string): string[] {
    if (from < this.compactRevision) return ['COMPACTED'];
    const out: string[] = [];
    for (let revision = Math.max(0, from); revision <= this.currentRevision; revision++) {
      const before = revision > this.compactRevision ? (this.#states[revision - 1] ?? new Map()) : new Map();
      for (const event of this.#events[revision] as ModelEvent[]) {
        if (inRange(event.key, key, rangeEnd)) out.push(this.#eventText(before, revision, event));
      }
    }
    return out;
  }

  #newest(): State {
    return this.#states.at(-1) as State;
  }

  #eventText(before: State, revision: number, { key, kv }: ModelEvent): string {
    const what = kv === undefined ? `${key} deleted@${revision}` : modelText(kv);
    const old = before.get(key);
    return old === undefined ? what : `${what} (was ${modelText(old)})`;
  }

  #checkReadable(revision: number): void {
    if (revision > this.currentRevision) throw new Refused('FUTURE_REVISION');
    if (revision < this.compactRevision) throw new Refused('COMPACTED');
  }

  #run(draft: Draft, command: Command): string {
    switch (command.type) {
      case 'put':
        return this.#put(draft, command.put);
      case 'deleteRange':
        return deleteRange(draft, command.deleteRange);
      case 'txn': {
        this.#checkPuts(draft.before, command.txn, new Set());
        this.#checkRanges(draft.before, command.txn);
        const answer = this.#txn(draft, command.txn);
        if (draft.rangeRefused) throw draft.rangeRefused;
        return `${draft.visible} ${answer}`;
      }
      case 'compact':
        if (command.revision <= this.compactRevision) throw new Refused('COMPACTED');
        if (command.revision > this.currentRevision) throw new Refused('FUTURE_REVISION');
        this.compactRevision = command.revision;
        return 'compact';
      case 'leaseGrant':
        if (this.leases.has(command.id)) throw new Refused('LEASE_EXISTS');
        this.leases.set(command.id, Math.max(2, command.ttlSeconds));
        return `leaseGrant ${this.leases.get(command.id)}`;
      case 'leaseRevoke':
        if (!this.leases.delete(command.id)) throw new Refused('LEASE_NOT_FOUND');
        for (const key of this.keysOf(command.id)) remove(draft, key);
        return 'leaseRevoke';
      default:
        throw new Error(`the model has no ${command.type}`);
    }
  }

  #put(draft: Draft, put: PutRequest, inTxn = false): string {
    const lease = put.lease ?? 0n;
    const noLease = lease !== 0n && !this.leases.has(lease);
    if (noLease && !inTxn) throw new Refused('LEASE_NOT_FOUND');
    const key = text(put.key);
    const old = draft.state.get(key);
    if ((put.ignoreValue || put.ignoreLease) && old === undefined) throw new Refused('KEY_NOT_FOUND');
    if (noLease) throw new Refused('LEASE_NOT_FOUND');
    const kv = {
      key,
      value: put.ignoreValue ? (old as ModelKv).value : text(put.value),
      create: old?.create ?? draft.revision,
      mod: draft.revision,
      version: (old?.version ?? 0) + 1,
      lease: put.ignoreLease ? (old as ModelKv).lease : lease,
    };
    draft.state.set(key, kv);
    draft.events.push({ key, kv });
    return `put@${draft.revision}${put.prevKv && old ? ` was ${modelText(old)}` : ''}`;
  }

  /** etcd's order of looking: all puts of the path first, each for its key and then its lease, then all ranges. */
  #checkPuts(before: State, request: TxnRequest, gone: Set<string>): void {
    for (const operation of path(before, request)) {
      if (operation.type === 'txn') this.#checkPuts(before, operation.txn, gone);
      if (operation.type === 'deleteRange') {
        const { key, rangeEnd } = operation.deleteRange;
        for (const each of before.keys()) if (inRange(each, text(key), text(rangeEnd))) gone.add(each);
      }
      if (operation.type !== 'put') continue;
      const { key, lease = 0n, ignoreValue, ignoreLease } = operation.put;
      const there = before.has(text(key)) && !gone.has(text(key));
      if ((ignoreValue || ignoreLease) && !there) throw new Refused('KEY_NOT_FOUND');
      if (lease !== 0n && !this.leases.has(lease)) throw new Refused('LEASE_NOT_FOUND');
    }
  }

  #checkRanges(before: State, request: TxnRequest): void {
    for (const operation of path(before, request)) {
      if (operation.type === 'txn') this.#checkRanges(before, operation.txn);
      if (operation.type !== 'range') continue;
      const { revision = 0 } = operation.range;
      if (revision !== 0) this.#checkReadable(revision);
    }
  }

  #txn(draft: Draft, request: TxnRequest): string {
    const succeeded = request.compare.every((each) => holds(draft.before, each));
    const answers = (succeeded ? request.success : request.failure).map((each) => this.#op(draft, each));
    return `${succeeded}: [${answers.join('; ')}]`;
  }

  #op(draft: Draft, operation: RequestOp): string {
    switch (operation.type) {
      case 'put':
        return this.#put(draft, operation.put, true);
      case 'deleteRange':
        return deleteRange(draft, operation.deleteRange);
      case 'range': {
        const { revision = 0 } = operation.range;
        try {
          if (revision !== 0) this.#checkReadable(revision);
        } catch (error) {
          // Puts are checked first, so this error waits for theirs.
          draft.rangeRefused ??= error as Refused;
          return '';
        }
        const state = revision > 0 ? (this.#states[revision] as State) : draft.state;
        return rangeText(state, operation.range, draft.visible);
      }
      case 'txn':
        return `txn@0 ${this.#txn(draft, operation.txn)}`;
      case 'none':
        throw new Refused('KEY_NOT_FOUND');
    }
  }
}

function path(before: State, { compare, success, failure }: TxnRequest): readonly RequestOp[] {
  return compare.every((each) => holds(before, each)) ? success : failure;
}

function remove(draft: Draft, key: string): void {
  draft.state.delete(key);
  draft.events.push({ key, kv: undefined });
}

function deleteRange(draft: Draft, request: DeleteRangeRequest): string {
  const doomed = [...draft.state.values()]
    .filter((kv) => inRange(kv.key, text(request.key), text(request.rangeEnd)))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const { key } of doomed) remove(draft, key);
  const prevKvs = request.prevKv ? ` was ${doomed.map(modelText).join(', ')}` : '';
  return `deleted ${doomed.length}@${draft.visible}${prevKvs}`;
}

const byTarget: Record<SortTarget, (kv: ModelKv) => string | number> = {
  key: (kv) => kv.key,
  version: (kv) => kv.version,
  create: (kv) => kv.create,
  mod: (kv) => kv.mod,
  value: (kv) => kv.value,
};

function rangeText(state: State, request: RangeRequest, visible: number): string {
  const { sortOrder = 'none', sortTarget = 'key', limit = 0 } = request;
  const inside = [...state.values()]
    .filter((kv) => inRange(kv.key, text(request.key), text(request.rangeEnd)))
    .sort((a, b) => (a.key < b.key ? -1 : 1));
  const within = (n: number, low = 0, high = 0): boolean => !(low && n < low) && !(high && n > high);
  let found = inside.filter(
    (kv) =>
      within(kv.mod, request.minModRevision, request.maxModRevision) &&
      within(kv.create, request.minCreateRevision, request.maxCreateRevision),
  );
  const all = found.length;
  const cut = (count: number): void => {
    if (limit > 0) found = found.slice(0, count);
  };
  const bounds = [
    request.minModRevision,
    request.maxModRevision,
    request.minCreateRevision,
    request.maxCreateRevision,
  ];
  if (sortOrder === 'none' && !bounds.some(Boolean)) cut(limit + 1);
  const value = byTarget[sortTarget];
  const sign = sortOrder === 'descend' ? -1 : 1;
  found.sort((a, b) => (value(a) < value(b) ? -sign : value(a) > value(b) ? sign : 0));
  cut(limit);
  if (request.countOnly) return `[] of ${inside.length}@${visible}`;
  const shown = found.map((kv) => modelText(request.keysOnly ? { ...kv, value: '' } : kv));
  return `[${shown.join(', ')}]${all > found.length ? ' more' : ''} of ${inside.length}@${visible}`;
}

function holds(state: State, compare: Compare): boolean {
  const keys = [...state.values()].filter((kv) => inRange(kv.key, text(compare.key), text(compare.rangeEnd)));
  return keys.length === 0 ? holdsFor(undefined, compare) : keys.every((kv) => holdsFor(kv, compare));
}

function holdsFor(kv: ModelKv | undefined, { target, result, operand }: Compare): boolean {
  if (target === 'value') {
    const bytes = operand?.kind === 'value' ? text(operand.bytes) : '';
    return kv !== undefined && is(kv.value, result, bytes);
  }
  if (target === 'lease') return is(kv?.lease ?? 0n, result, operand?.kind === 'lease' ? operand.id : 0n);
  if (typeof target === 'number') return is(0, result, 0);
  const number = operand?.kind === target ? (operand as { number: number }).number : 0;
  return is(kv?.[target] ?? 0, result, number);
}

function is<T extends string | number | bigint>(left: T, result: Compare['result'], right: T): boolean {
  if (result === 'equal') return left === right;
  if (result === 'notEqual') return left !== right;
  if (result === 'less') return left < right;
  return result === 'greater' ? left > right : true;
}
