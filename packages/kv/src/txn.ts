import { assert, binaryString, compareBytes } from '@muster/base';
import { KvError } from '@muster/contract';
import { checkTxnPut } from './apply-guards.ts';
import { IntervalSet } from './interval-set.ts';
import { type KeyRange, keyRange } from './key-range.ts';
import type { MvccStore, RevisionWriter } from './mvcc-store.ts';
import { headsIn, readRange } from './range.ts';
import { decodeHead, type KeyHead } from './records.ts';
import type {
  Compare,
  DeleteRangeRequest,
  DeleteRangeResult,
  PutRequest,
  PutResult,
  RangeRequest,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResult,
} from './types.ts';

const NO_VALUE = new Uint8Array(0);
/** Sorts after the binary string of every key. */
const AFTER_ALL_KEYS = '\u0100';

/** A transaction with its path chosen: all compares saw the state before it. */
type PlannedTxn = { readonly succeeded: boolean; readonly ops: readonly PlannedOp[] };
type PlannedOp =
  | Exclude<RequestOp, { readonly type: 'txn' | 'none' }>
  | { readonly type: 'txn'; readonly txn: PlannedTxn };

/**
 * Chooses the path and checks everything on it that could fail (reference 2.6), so that executing it cannot. Throws
 * with nothing changed.
 */
export function planTxn(store: MvccStore, request: TxnRequest): PlannedTxn {
  const planned = planWithin(store, request, new IntervalSet());
  // After all puts, as etcd does: which error comes when several apply is seen by clients.
  checkRanges(store, planned);
  return planned;
}

/** `deleted` is what operations before this transaction delete. */
function planWithin(store: MvccStore, request: TxnRequest, deleted: IntervalSet): PlannedTxn {
  const succeeded = request.compare.every((compare) => holds(store, compare));
  const ops = succeeded ? request.success : request.failure;
  return { succeeded, ops: ops.map((op) => planOp(store, op, deleted)) };
}

function planOp(store: MvccStore, op: RequestOp, deleted: IntervalSet): PlannedOp {
  switch (op.type) {
    case 'range':
      return op;
    case 'put': {
      const { key } = op.put;
      checkTxnPut(store, op.put, () => !deleted.has(binaryString(key)) && store.liveHead(key) !== undefined);
      return op;
    }
    case 'deleteRange':
      addDeleted(deleted, keyRange(op.deleteRange.key, op.deleteRange.rangeEnd));
      return op;
    case 'txn':
      return { type: 'txn', txn: planWithin(store, op.txn, deleted) };
    case 'none':
      throw new KvError('KEY_NOT_FOUND', { detail: 'an operation with nothing set' });
  }
}

function addDeleted(deleted: IntervalSet, range: KeyRange): void {
  if (range.kind === 'empty') return;
  const from = binaryString(range.kind === 'single' ? range.key : range.from);
  if (range.kind === 'single') deleted.add(from, `${from}\0`);
  else deleted.add(from, range.to === undefined ? AFTER_ALL_KEYS : binaryString(range.to));
}

function checkRanges(store: MvccStore, { ops }: PlannedTxn): void {
  for (const op of ops) {
    if (op.type === 'range') checkRange(store, op.range);
    if (op.type === 'txn') checkRanges(store, op.txn);
  }
}

/**
 * Within a transaction 0 is the newest state, and a negative revision is the newest too unless it is below the compact
 * revision, as etcd has it: on a store that was never compacted -1 passes and -5 does not.
 */
function checkRange(store: MvccStore, { revision = 0 }: RangeRequest): void {
  if (revision !== 0) store.checkReadable(revision);
}

// --- compares ---

/** etcd's compare: true when every key of the range satisfies it; an empty range is compared as a missing key. */
function holds(store: MvccStore, compare: Compare): boolean {
  const range = keyRange(compare.key, compare.rangeEnd);
  if (range.kind === 'single') return holdsFor(store, compare, store.liveHead(compare.key));
  let found = false;
  for (const [, record] of headsIn(store, range)) {
    const head = decodeHead(record);
    if (head.deleted) continue;
    found = true;
    if (!holdsFor(store, compare, head)) return false;
  }
  return found || holdsFor(store, compare, undefined);
}

function holdsFor(
  store: MvccStore,
  { target, result, operand }: Compare,
  head: KeyHead | undefined,
): boolean {
  switch (target) {
    case 'value': {
      if (head === undefined) return false;
      const bytes = operand?.kind === 'value' ? operand.bytes : NO_VALUE;
      return satisfies(result, compareBytes(store.valueOf(head).value, bytes));
    }
    case 'lease': {
      const lease = head?.lease ?? 0n;
      const id = operand?.kind === 'lease' ? operand.id : 0n;
      return satisfies(result, lease < id ? -1 : lease > id ? 1 : 0);
    }
    case 'version':
    case 'create':
    case 'mod': {
      const number = operand?.kind === target ? operand.number : 0;
      return satisfies(result, numberOf(target, head) - number);
    }
    default:
      // etcd compares nothing for a target that it does not know: both sides are equal then.
      return satisfies(result, 0);
  }
}

function numberOf(target: 'version' | 'create' | 'mod', head: KeyHead | undefined): number {
  if (head === undefined) return 0;
  if (target === 'version') return head.version;
  return target === 'create' ? head.createRevision : head.main;
}

function satisfies(result: Compare['result'], difference: number): boolean {
  switch (result) {
    case 'equal':
      return difference === 0;
    case 'notEqual':
      return difference !== 0;
    case 'greater':
      return difference > 0;
    case 'less':
      return difference < 0;
    default:
      return true;
  }
}

// --- execution ---

/** Runs a planned transaction. Inner answers carry the revision visible at that point, a nested transaction none. */
export function executeTxn(store: MvccStore, writer: RevisionWriter, planned: PlannedTxn): TxnResult {
  const responses = planned.ops.map((op) => executeOp(store, writer, op));
  return { revision: 0, succeeded: planned.succeeded, responses };
}

function executeOp(store: MvccStore, writer: RevisionWriter, op: PlannedOp): ResponseOp {
  switch (op.type) {
    case 'range': {
      const visible = writer.visibleRevision;
      const revision = (op.range.revision ?? 0) > 0 ? (op.range.revision as number) : visible;
      return { type: 'range', range: readRange(store, op.range, revision, visible) };
    }
    case 'put':
      return { type: 'put', put: executePut(store, writer, op.put) };
    case 'deleteRange':
      return { type: 'deleteRange', deleteRange: executeDeleteRange(store, writer, op.deleteRange) };
    case 'txn':
      return { type: 'txn', txn: executeTxn(store, writer, op.txn) };
  }
}

/** A put that `checkPut` or `checkTxnPut` let through. */
export function executePut(store: MvccStore, writer: RevisionWriter, put: PutRequest): PutResult {
  const { key, prevKv = false } = put;
  const head = store.head(key);
  let value = put.value ?? NO_VALUE;
  let lease = put.lease ?? 0n;
  if (put.ignoreValue || put.ignoreLease) {
    assert(head !== undefined && !head.deleted, 'a put that keeps value or lease was not checked');
    if (put.ignoreValue) value = store.valueOf(head).value;
    if (put.ignoreLease) lease = head.lease;
  }
  const before = writer.put(key, value, lease, head, prevKv);
  return before === undefined ? { revision: writer.main } : { revision: writer.main, prevKv: before };
}

export function executeDeleteRange(
  store: MvccStore,
  writer: RevisionWriter,
  { key, rangeEnd, prevKv = false }: DeleteRangeRequest,
): DeleteRangeResult {
  const doomed = liveHeads(store, keyRange(key, rangeEnd));
  const prevKvs = [];
  for (const [each, head] of doomed) {
    const before = writer.delete(each, head, prevKv);
    if (before !== undefined) prevKvs.push(before);
  }
  return { revision: writer.visibleRevision, deleted: doomed.length, prevKvs };
}

function liveHeads(store: MvccStore, range: KeyRange): (readonly [Uint8Array, KeyHead])[] {
  if (range.kind === 'single') {
    const head = store.liveHead(range.key);
    return head === undefined ? [] : [[range.key, head]];
  }
  const out: (readonly [Uint8Array, KeyHead])[] = [];
  for (const [key, record] of headsIn(store, range)) {
    const head = decodeHead(record);
    if (!head.deleted) out.push([key, head]);
  }
  return out;
}
