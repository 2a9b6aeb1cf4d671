import { assertNever } from '@muster/base';
import { checkCompact, checkPut } from './apply-guards.ts';
import { isAuthCommand } from './auth/auth-commands.ts';
import type { AuthResult, AuthStore } from './auth/auth-store.ts';
import type { ClusterTable } from './cluster-table.ts';
import type { Command } from './commands.ts';
import { type MvccStore, RevisionWriter } from './mvcc-store.ts';
import { executeDeleteRange, executePut, executeTxn, planTxn } from './txn.ts';
import type {
  Alarm,
  DeleteRangeResult,
  Event,
  MemberInfo,
  PutResult,
  TxnRequest,
  TxnResult,
} from './types.ts';

/** What a command answers, by the command's own type. */
export type ApplyResult =
  | { readonly type: 'put'; readonly put: PutResult }
  | { readonly type: 'deleteRange'; readonly deleteRange: DeleteRangeResult }
  | { readonly type: 'txn'; readonly txn: TxnResult }
  | { readonly type: 'compact' }
  | { readonly type: 'leaseGrant'; readonly id: bigint; readonly ttlSeconds: number }
  | { readonly type: 'leaseRevoke' }
  | { readonly type: 'leaseCheckpoint' }
  /** The alarm in question: absent when there was none to deactivate. */
  | { readonly type: 'alarm'; readonly alarms: readonly Alarm[] }
  | { readonly type: 'memberAttributes' }
  | { readonly type: 'members'; readonly members: readonly MemberInfo[] }
  | AuthResult
  | { readonly type: 'noop' };

export type Applied = { readonly result: ApplyResult; readonly events: readonly Event[] };

const NO_EVENTS: readonly Event[] = [];

/** Runs one command that the alarms let through. Throws a `KvError` with nothing changed, or changes everything. */
export class Applier {
  readonly #store: MvccStore;
  readonly #cluster: ClusterTable;
  readonly #auth: AuthStore;
  readonly #minLeaseTtlSeconds: number;
  readonly #onCompact: (revision: number) => void;

  constructor(options: {
    readonly store: MvccStore;
    readonly cluster: ClusterTable;
    readonly auth: AuthStore;
    readonly minLeaseTtlSeconds: number;
    readonly onCompact: (revision: number) => void;
  }) {
    this.#store = options.store;
    this.#cluster = options.cluster;
    this.#auth = options.auth;
    this.#minLeaseTtlSeconds = options.minLeaseTtlSeconds;
    this.#onCompact = options.onCompact;
  }

  /** `index` is the command's place in the log. */
  run(command: Command, index: number): Applied {
    if (isAuthCommand(command)) return { result: this.#auth.apply(command, index), events: NO_EVENTS };
    switch (command.type) {
      case 'put':
      case 'deleteRange':
      case 'txn':
        return this.#write(command);
      case 'compact':
        checkCompact(this.#store, command.revision);
        this.#onCompact(command.revision);
        return { result: { type: 'compact' }, events: NO_EVENTS };
      case 'leaseGrant':
        return { result: this.#grant(command.id, command.ttlSeconds), events: NO_EVENTS };
      case 'leaseRevoke':
        return { result: { type: 'leaseRevoke' }, events: this.#revoke(command.id) };
      case 'leaseCheckpoint':
        for (const checkpoint of command.checkpoints) this.#store.leases.checkpoint(checkpoint);
        return { result: { type: 'leaseCheckpoint' }, events: NO_EVENTS };
      case 'alarm':
        return { result: this.#alarm(command), events: NO_EVENTS };
      case 'memberAttributes':
        this.#cluster.setAttributes(command.id, command.name, command.clientUrls);
        return { result: { type: 'memberAttributes' }, events: NO_EVENTS };
      case 'memberAdd':
      case 'memberRemove':
      case 'memberPromote':
      case 'memberUpdate':
        this.#cluster.change(command);
        return { result: { type: 'members', members: this.#cluster.members() }, events: NO_EVENTS };
      case 'noop':
        return { result: { type: 'noop' }, events: NO_EVENTS };
      default:
        return assertNever(command, 'command');
    }
  }

  #write(command: Extract<Command, { readonly type: 'put' | 'deleteRange' | 'txn' }>): Applied {
    const store = this.#store;
    const writer = new RevisionWriter(store);
    let result: ApplyResult;
    if (command.type === 'put') {
      checkPut(store, command.put, () => store.liveHead(command.put.key) !== undefined);
      result = { type: 'put', put: executePut(store, writer, command.put) };
    } else if (command.type === 'deleteRange') {
      result = { type: 'deleteRange', deleteRange: executeDeleteRange(store, writer, command.deleteRange) };
    } else {
      result = { type: 'txn', txn: runTxn(store, writer, command.txn) };
    }
    writer.finish();
    return { result, events: writer.events };
  }

  #grant(id: bigint, ttlSeconds: number): ApplyResult {
    const { leases } = this.#store;
    leases.checkGrant(id, ttlSeconds);
    this.#store.counters.leasesGranted++;
    const granted = leases.grant(id, Math.max(ttlSeconds, this.#minLeaseTtlSeconds));
    return { type: 'leaseGrant', id, ttlSeconds: granted.ttlSeconds };
  }

  /** The keys die in one revision, ascending; with no keys there is no revision. */
  #revoke(id: bigint): readonly Event[] {
    const store = this.#store;
    store.leases.checkExists(id);
    const writer = new RevisionWriter(store);
    for (const key of store.leases.keysOf(id)) {
      const head = store.liveHead(key);
      if (head !== undefined) writer.delete(key, head, false);
    }
    writer.finish();
    store.leases.remove(id);
    store.counters.leasesRevoked++;
    return writer.events;
  }

  #alarm({ action, memberId, alarm }: Extract<Command, { readonly type: 'alarm' }>): ApplyResult {
    // An alarm of no kind would stop nothing and stay: newer etcd ignores it.
    if (alarm === 'none') return { type: 'alarm', alarms: [] };
    const which: Alarm = { memberId, alarm };
    if (action === 'activate') this.#cluster.activate(which);
    else if (!this.#cluster.deactivate(which)) return { type: 'alarm', alarms: [] };
    return { type: 'alarm', alarms: [which] };
  }
}

/** Plans and runs a transaction; the answer carries the revision that it ends at. */
export function runTxn(store: MvccStore, writer: RevisionWriter, request: TxnRequest): TxnResult {
  store.counters.txns++;
  const planned = planTxn(store, request);
  const result = executeTxn(store, writer, planned);
  return { ...result, revision: writer.visibleRevision };
}
