/**
 * The checks that need nothing but the request (reference 2.2 to 2.6), for whoever takes requests in. They are not
 * repeated when a command is applied, because a limit may differ between members and the outcome must not.
 */
import { binaryString } from '@muster/base';
import { KvError } from '@muster/contract';
import { IntervalSet } from './interval-set.ts';
import type { DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest } from './types.ts';

const SORT_ORDERS: readonly unknown[] = [undefined, 'none', 'ascend', 'descend'];
const SORT_TARGETS: readonly unknown[] = [undefined, 'key', 'version', 'create', 'mod', 'value'];

/** Throws `EMPTY_KEY` or `INVALID_SORT_OPTION`. */
export function validateRange(request: RangeRequest): void {
  checkKey(request.key);
  if (!SORT_ORDERS.includes(request.sortOrder) || !SORT_TARGETS.includes(request.sortTarget)) {
    const detail = `sort order ${request.sortOrder}, target ${request.sortTarget}`;
    throw new KvError('INVALID_SORT_OPTION', { detail });
  }
}

/** Throws `EMPTY_KEY`, `VALUE_PROVIDED` or `LEASE_PROVIDED`. */
export function validatePut(request: PutRequest): void {
  checkKey(request.key);
  if (request.ignoreValue && (request.value?.length ?? 0) > 0) throw new KvError('VALUE_PROVIDED');
  if (request.ignoreLease && (request.lease ?? 0n) !== 0n) throw new KvError('LEASE_PROVIDED');
}

/** Throws `EMPTY_KEY`. */
export function validateDeleteRange(request: DeleteRangeRequest): void {
  checkKey(request.key);
}

/**
 * Throws what the operations' own checks throw, and `TOO_MANY_OPS`, `KEY_NOT_FOUND` (an operation with nothing set) or
 * `DUPLICATE_KEY`. `maxOps` bounds the longest of the three lists; a nested transaction gets what its parents left.
 */
export function validateTxn(request: TxnRequest, maxOps: number): void {
  checkShape(request, maxOps);
  checkDuplicates(request.success);
  checkDuplicates(request.failure);
}

function checkKey(key: Uint8Array): void {
  if (key.length === 0) throw new KvError('EMPTY_KEY');
}

function checkShape({ compare, success, failure }: TxnRequest, maxOps: number): void {
  const ops = Math.max(compare.length, success.length, failure.length);
  if (ops > maxOps) {
    throw new KvError('TOO_MANY_OPS', { detail: `${ops} operations where ${maxOps} are left` });
  }
  for (const { key } of compare) checkKey(key);
  for (const op of success) checkOp(op, maxOps - ops);
  for (const op of failure) checkOp(op, maxOps - ops);
}

function checkOp(op: RequestOp, opsLeft: number): void {
  switch (op.type) {
    case 'range':
      return validateRange(op.range);
    case 'put':
      return validatePut(op.put);
    case 'deleteRange':
      return validateDeleteRange(op.deleteRange);
    case 'txn':
      return checkShape(op.txn, opsLeft);
    case 'none':
      throw new KvError('KEY_NOT_FOUND', { detail: 'an operation with nothing set' });
  }
}

/** The keys that a list of operations puts, and the ranges it deletes, on any path through it. */
type Touched = { readonly puts: Set<string>; readonly deletes: IntervalSet };

/**
 * No path may put a key twice, nor put and delete it. etcd's order of looking is kept, for it lets one case through:
 * of two nested transactions side by side the first may put what the second deletes. So is its comparing of a range
 * end of one zero byte as it stands, where "to the end" overlaps nothing.
 */
function checkDuplicates(ops: readonly RequestOp[]): Touched {
  const puts = new Set<string>();
  const deletes = new IntervalSet();
  for (const op of ops) {
    if (op.type === 'deleteRange') addDelete(deletes, op.deleteRange);
  }
  for (const op of ops) {
    if (op.type === 'txn') addNested(puts, deletes, op.txn);
  }
  for (const op of ops) {
    if (op.type === 'put') addPut(puts, deletes, binaryString(op.put.key));
  }
  return { puts, deletes };
}

function addDelete(deletes: IntervalSet, { key, rangeEnd }: DeleteRangeRequest): void {
  const start = binaryString(key);
  const single = rangeEnd === undefined || rangeEnd.length === 0;
  deletes.add(start, single ? `${start}\0` : binaryString(rangeEnd));
}

function addNested(puts: Set<string>, deletes: IntervalSet, txn: TxnRequest): void {
  const success = checkDuplicates(txn.success);
  const failure = checkDuplicates(txn.failure);
  for (const key of success.puts) addPut(puts, deletes, key);
  for (const key of failure.puts) {
    // In both branches is fine: only one of them runs.
    if (success.puts.has(key)) continue;
    addPut(puts, deletes, key);
  }
  deletes.addAll(success.deletes);
  deletes.addAll(failure.deletes);
}

function addPut(puts: Set<string>, deletes: IntervalSet, key: string): void {
  if (puts.has(key) || deletes.has(key)) throw new KvError('DUPLICATE_KEY');
  puts.add(key);
}
