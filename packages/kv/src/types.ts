/**
 * etcd's data shapes. Keys and values are bytes; revisions, versions and counts are safe integers; lease ids are
 * signed 64-bit, member and cluster ids unsigned 64-bit `bigint`s.
 */

export type KeyValue = {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** Main revision of the put that created the key's current generation; 0 on a tombstone. */
  readonly createRevision: number;
  readonly modRevision: number;
  /** Puts since creation, from 1; 0 on a tombstone. */
  readonly version: number;
  /** Attached lease or 0n. */
  readonly lease: bigint;
};

export type EventType = 'put' | 'delete';

/** A change of one key. On a delete `kv` has key and modRevision, all else is zero. */
export type Event = {
  readonly type: EventType;
  readonly kv: KeyValue;
  /** The state at modRevision - 1; absent on a creation, when not asked for, and when compacted. */
  readonly prevKv?: KeyValue;
};

export type SortOrder = 'none' | 'ascend' | 'descend';
export type SortTarget = 'key' | 'version' | 'create' | 'mod' | 'value';

/** An empty `rangeEnd` is one key; a single zero byte is "to the end of the keyspace". */
export type RangeRequest = {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  readonly limit?: number;
  /** 0 or absent is the latest. */
  readonly revision?: number;
  readonly sortOrder?: SortOrder;
  readonly sortTarget?: SortTarget;
  readonly serializable?: boolean;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  readonly minModRevision?: number;
  readonly maxModRevision?: number;
  readonly minCreateRevision?: number;
  readonly maxCreateRevision?: number;
};

export type PutRequest = {
  readonly key: Uint8Array;
  readonly value?: Uint8Array;
  readonly lease?: bigint;
  readonly prevKv?: boolean;
  readonly ignoreValue?: boolean;
  readonly ignoreLease?: boolean;
};

export type DeleteRangeRequest = {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  readonly prevKv?: boolean;
};

/** A number outside etcd's enum is kept: such a compare is true. */
export type CompareResult = 'equal' | 'greater' | 'less' | 'notEqual' | number;
export type CompareTarget = 'version' | 'create' | 'mod' | 'value' | 'lease' | number;

/** `operand` is absent, or of another kind than `target`: the comparison is with 0 or with no bytes. */
export type Compare = {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  readonly result: CompareResult;
  readonly target: CompareTarget;
  readonly operand?:
    | { readonly kind: 'version' | 'create' | 'mod'; readonly number: number }
    | { readonly kind: 'value'; readonly bytes: Uint8Array }
    | { readonly kind: 'lease'; readonly id: bigint };
};

/** `none` is a RequestOp with nothing set, which validation refuses. */
export type RequestOp =
  | { readonly type: 'range'; readonly range: RangeRequest }
  | { readonly type: 'put'; readonly put: PutRequest }
  | { readonly type: 'deleteRange'; readonly deleteRange: DeleteRangeRequest }
  | { readonly type: 'txn'; readonly txn: TxnRequest }
  | { readonly type: 'none' };

export type TxnRequest = {
  readonly compare: readonly Compare[];
  readonly success: readonly RequestOp[];
  readonly failure: readonly RequestOp[];
};

/** What a store answers; `revision` is what etcd's header carries. */
export type RangeResult = {
  readonly revision: number;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
  readonly count: number;
};
export type PutResult = { readonly revision: number; readonly prevKv?: KeyValue };
export type DeleteRangeResult = {
  readonly revision: number;
  readonly deleted: number;
  readonly prevKvs: readonly KeyValue[];
};
export type ResponseOp =
  | { readonly type: 'range'; readonly range: RangeResult }
  | { readonly type: 'put'; readonly put: PutResult }
  | { readonly type: 'deleteRange'; readonly deleteRange: DeleteRangeResult }
  | { readonly type: 'txn'; readonly txn: TxnResult };
export type TxnResult = {
  readonly revision: number;
  readonly succeeded: boolean;
  readonly responses: readonly ResponseOp[];
};

export type AlarmType = 'none' | 'nospace' | 'corrupt';
export type Alarm = { readonly memberId: bigint; readonly alarm: AlarmType };

/** A cluster member as the replicated state knows it. "Started" = a non-empty name. */
export type MemberInfo = {
  readonly id: bigint;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
};
