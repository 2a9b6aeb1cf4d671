import { compareBytes } from '@muster/base';
import { KvError } from '@muster/contract';
import type { Compare, DeleteRangeRequest, KeyValue, RangeRequest, RequestOp, TxnRequest } from '@muster/kv';

/** Keys as Latin-1 text, one char a byte, so that a plain object-free Map orders and finds them. */
export type State = ReadonlyMap<string, KeyValue>;

export const keyText = (key: Uint8Array): string => Buffer.from(key).toString('latin1');

const NO_BYTES = new Uint8Array(0);

/** Whether [key, rangeEnd) in etcd's reading holds `probe`. */
export function covers(range: { key: Uint8Array; rangeEnd?: Uint8Array }, probe: Uint8Array): boolean {
  const end = range.rangeEnd ?? NO_BYTES;
  if (end.length === 0) return compareBytes(range.key, probe) === 0;
  if (compareBytes(probe, range.key) < 0) return false;
  return (end.length === 1 && end[0] === 0) || compareBytes(probe, end) < 0;
}

/** The live keys of a range in key order. */
export function select(state: State, range: { key: Uint8Array; rangeEnd?: Uint8Array }): KeyValue[] {
  return [...state.values()].filter((kv) => covers(range, kv.key)).sort((a, b) => compareBytes(a.key, b.key));
}

const SORT_FIELDS = {
  version: 'version',
  create: 'createRevision',
  mod: 'modRevision',
} as const;

/** Range over one state: filter, sort, limit, strip, in etcd's order. */
export function rangeOf(
  state: State,
  request: RangeRequest,
): { kvs: KeyValue[]; more: boolean; count: number } {
  const all = select(state, request);
  const count = all.length;
  if (request.countOnly) return { kvs: [], more: false, count };
  const limit = request.limit !== undefined && request.limit > 0 ? request.limit : Number.POSITIVE_INFINITY;
  const { sortOrder = 'none', sortTarget = 'key' } = request;
  const bounded = hasBounds(request);
  let kvs = all;
  // Without an order etcd reads one key more than the limit, in key order, and sorts and cuts what it read.
  if (sortOrder === 'none' && !bounded) kvs = kvs.slice(0, limit + 1);
  kvs = kvs.filter((kv) => withinBounds(request, kv));
  if (sortOrder !== 'none' || sortTarget !== 'key') {
    const sign = sortOrder === 'descend' ? -1 : 1;
    kvs = [...kvs].sort((a, b) => sign * compareBy(sortTarget, a, b));
  }
  const more = kvs.length > limit;
  if (more) kvs = kvs.slice(0, limit);
  if (request.keysOnly) kvs = kvs.map((kv) => ({ ...kv, value: NO_BYTES }));
  return { kvs, more, count };
}

function hasBounds(request: RangeRequest): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision].some((bound) => bound);
}

function withinBounds(request: RangeRequest, kv: KeyValue): boolean {
  const within = (value: number, min = 0, max = 0) =>
    (min === 0 || value >= min) && (max === 0 || value <= max);
  return (
    within(kv.modRevision, request.minModRevision, request.maxModRevision) &&
    within(kv.createRevision, request.minCreateRevision, request.maxCreateRevision)
  );
}

function compareBy(target: NonNullable<RangeRequest['sortTarget']>, a: KeyValue, b: KeyValue): number {
  if (target === 'key') return compareBytes(a.key, b.key);
  if (target === 'value') return compareBytes(a.value, b.value);
  return a[SORT_FIELDS[target]] - b[SORT_FIELDS[target]];
}

/** Whether a compare of a txn holds in the state before the txn. */
export function holds(state: State, compare: Compare): boolean {
  const kvs = select(state, compare);
  if (kvs.length > 0) return kvs.every((kv) => satisfies(kv, compare));
  if (compare.target === 'value') return false;
  const missing = {
    key: compare.key,
    value: NO_BYTES,
    createRevision: 0,
    modRevision: 0,
    version: 0,
    lease: 0n,
  };
  return satisfies(missing, compare);
}

function satisfies(kv: KeyValue, compare: Compare): boolean {
  const { operand, target, result } = compare;
  const numeric = (kind: 'version' | 'create' | 'mod') => (operand?.kind === kind ? operand.number : 0);
  let order: number;
  if (target === 'version') order = kv.version - numeric('version');
  else if (target === 'create') order = kv.createRevision - numeric('create');
  else if (target === 'mod') order = kv.modRevision - numeric('mod');
  else if (target === 'value')
    order = compareBytes(kv.value, operand?.kind === 'value' ? operand.bytes : NO_BYTES);
  else if (target === 'lease') order = Number(kv.lease - (operand?.kind === 'lease' ? operand.id : 0n));
  else order = 0;
  if (result === 'equal') return order === 0;
  if (result === 'notEqual') return order !== 0;
  if (result === 'greater') return order > 0;
  if (result === 'less') return order < 0;
  return true;
}

/** All puts, deletes and ranges that a txn would run, in order; every compare sees the state before. */
export function flatOps(state: State, txn: TxnRequest): RequestOp[] {
  const ops = txn.compare.every((compare) => holds(state, compare)) ? txn.success : txn.failure;
  return ops.flatMap((op) => (op.type === 'txn' ? flatOps(state, op.txn) : [op]));
}

export function isReadOnly(txn: TxnRequest): boolean {
  return [...txn.success, ...txn.failure].every(
    (op) => op.type === 'range' || (op.type === 'txn' && isReadOnly(op.txn)),
  );
}

/** Refuses what etcd refuses before it looks at any data: first every operation by itself, then duplicates. */
export function checkTxn(txn: TxnRequest, budget: number): void {
  checkShape(txn, budget);
  checkDuplicates(txn.success);
  checkDuplicates(txn.failure);
}

function checkShape(txn: TxnRequest, budget: number): void {
  const most = Math.max(txn.compare.length, txn.success.length, txn.failure.length);
  if (most > budget) throw new KvError('TOO_MANY_OPS');
  for (const compare of txn.compare) if (compare.key.length === 0) throw new KvError('EMPTY_KEY');
  for (const op of [...txn.success, ...txn.failure]) checkOp(op, budget - most);
}

function checkOp(op: RequestOp, budget: number): void {
  if (op.type === 'none') throw new KvError('KEY_NOT_FOUND');
  if (op.type === 'range' && op.range.key.length === 0) throw new KvError('EMPTY_KEY');
  if (op.type === 'deleteRange' && op.deleteRange.key.length === 0) throw new KvError('EMPTY_KEY');
  if (op.type === 'put') checkPut(op.put);
  if (op.type === 'txn') checkShape(op.txn, budget);
}

export function checkPut(put: Extract<RequestOp, { type: 'put' }>['put']): void {
  if (put.key.length === 0) throw new KvError('EMPTY_KEY');
  if (put.ignoreValue && put.value !== undefined && put.value.length > 0) throw new KvError('VALUE_PROVIDED');
  if (put.ignoreLease && put.lease) throw new KvError('LEASE_PROVIDED');
}

type Touched = { readonly puts: Uint8Array[]; readonly deletes: DeleteRangeRequest[] };

/** A delete's range as etcd's interval check sees it: an end of `\0` is the literal byte 0 there. */
function overlaps(range: DeleteRangeRequest, key: Uint8Array): boolean {
  const end = range.rangeEnd ?? NO_BYTES;
  if (end.length === 1 && end[0] === 0) return false;
  return covers(range, key);
}

/**
 * etcd's check of one branch, quirks included: a nested put counts against this branch's deletes and against earlier
 * siblings (not later ones), and the branches of one nested txn never against each other.
 */
function checkDuplicates(ops: readonly RequestOp[]): Touched {
  const deletes = ops.flatMap((op) => (op.type === 'deleteRange' ? [op.deleteRange] : []));
  const puts: Uint8Array[] = [];
  for (const op of ops) {
    if (op.type !== 'txn') continue;
    const branches = [checkDuplicates(op.txn.success), checkDuplicates(op.txn.failure)];
    const nested = branches.flatMap((branch) => branch.puts);
    for (const key of nested) refuseTouched({ puts, deletes }, key);
    puts.push(...nested);
    deletes.push(...branches.flatMap((branch) => branch.deletes));
  }
  for (const op of ops) {
    if (op.type !== 'put') continue;
    refuseTouched({ puts, deletes }, op.put.key);
    puts.push(op.put.key);
  }
  return { puts, deletes };
}

function refuseTouched({ puts, deletes }: Touched, key: Uint8Array): void {
  const again = puts.some((other) => compareBytes(other, key) === 0);
  if (again || deletes.some((range) => overlaps(range, key))) throw new KvError('DUPLICATE_KEY');
}
