/**
 * Frames of the watch protocol (`openapi/ws-frames.v1.schema.json`): one JSON object in a text frame. The same frames
 * without `id` are the lines of an ndjson stream.
 */
import type { ClusterState, EntryResource, Instance, InstanceStatus, Problem } from './resources.ts';

export const WATCH_PROTOCOL = 'watch.v1+json';
export const WATCH_VERSION = 1;

/** Why a socket was closed, in the range that is the application's. */
export const CloseCode = {
  GOING_AWAY: 1001,
  TOO_BIG: 1009,
  LATER: 1013,
  BAD_FRAME: 4400,
  UNAUTHENTICATED: 4401,
  FORBIDDEN: 4403,
  SILENT: 4408,
  LIMITS: 4429,
} as const;

export type ChangeKind = 'put' | 'delete';

/** Keys: one of `key` (`keyBase64`), `prefix` (`prefixBase64`), or `start` and `end` (half-open). */
export type KvSelection = {
  readonly key?: string;
  readonly keyBase64?: string;
  readonly prefix?: string;
  readonly prefixBase64?: string;
  readonly start?: string;
  readonly end?: string;
  readonly keysOnly?: boolean;
  readonly prevKv?: boolean;
  readonly only?: readonly ChangeKind[];
};
/** Instances of one service, or of all with `*`, that pass every filter. */
export type ServiceSelection = {
  readonly name: string;
  readonly ns?: string;
  readonly status?: readonly InstanceStatus[];
  readonly zone?: string;
  readonly tag?: readonly string[];
  readonly version?: string;
};
export type WatchSelection =
  | { readonly kv: KvSelection }
  | { readonly service: ServiceSelection }
  /** Members, leader and term. No snapshot, no cursor, no credit: each `cluster` frame is the whole state. */
  | { readonly cluster: Record<string, never> };

export type SubFrame = {
  readonly t: 'sub';
  readonly id: string;
  readonly sel: WatchSelection;
  /** Resume after this cursor. */
  readonly from?: string;
  /** The present state first. */
  readonly snapshot?: boolean;
  /** How many revisions may be on the way, not yet acknowledged. */
  readonly credit?: number;
  readonly coalesce?: 'none' | 'key';
};
export type ClientFrame =
  | { readonly t: 'hello'; readonly v: number; readonly client?: string }
  | SubFrame
  | { readonly t: 'unsub'; readonly id: string }
  /** Processed up to `rev`; `credit` sets the window from now on. */
  | { readonly t: 'ack'; readonly id: string; readonly rev: number; readonly credit?: number }
  | { readonly t: 'ping'; readonly n: number }
  /** Asks for a `bm` as soon as everything up to now is delivered: of one subscription, or of all. */
  | { readonly t: 'progress'; readonly id?: string }
  /** The token that counts from now on; allowed before `hello`. */
  | { readonly t: 'auth'; readonly token: string };

export type KvItem = EntryResource;
export type KvEvent =
  | { readonly type: 'put'; readonly entry: EntryResource; readonly prev?: EntryResource }
  | {
      readonly type: 'delete';
      readonly key?: string;
      readonly keyBase64?: string;
      readonly modRevision: number;
      readonly prev?: EntryResource;
    };
export type ServiceItem = Instance;
export type ServiceEvent =
  | { readonly type: 'put'; readonly instance: Instance; readonly prev?: Instance }
  /** Gone, or `filtered`: still there, but it does not pass the filters any more. */
  | {
      readonly type: 'delete';
      readonly service: string;
      readonly id: string;
      readonly modRevision: number;
      readonly filtered?: boolean;
      readonly prev?: Instance;
    };
export type WatchItem = KvItem | ServiceItem;
export type WatchEvent = KvEvent | ServiceEvent;

export type GapReason = 'compacted' | 'overflow' | 'epoch';
export type GoawayReason = 'shutdown' | 'rebalance';

/** The frames that concern one subscription, without its `id`: the lines of an ndjson stream. */
export type StreamFrame =
  | {
      readonly t: 'subd';
      readonly mode: 'resume' | 'snapshot';
      readonly rev: number;
      readonly epoch?: string;
    }
  /** `more: false` completes the snapshot. One at another `rev` discards what came of an unfinished one. */
  | {
      readonly t: 'snap';
      readonly rev: number;
      readonly items: readonly WatchItem[];
      readonly more: boolean;
      readonly replace?: boolean;
    }
  /** One revision; `part` is [number from 1, of how many] where one is too large for a frame. */
  | {
      readonly t: 'ev';
      readonly rev: number;
      readonly part?: readonly [number, number];
      readonly events: readonly WatchEvent[];
    }
  | { readonly t: 'bm'; readonly rev: number }
  /** A replacing snapshot follows. */
  | { readonly t: 'gap'; readonly reason: GapReason; readonly from: string; readonly to: number }
  | { readonly t: 'lag'; readonly behind: number }
  | ({ readonly t: 'cluster' } & ClusterState)
  | { readonly t: 'end'; readonly problem?: Problem };

type WithId<T> = T extends { readonly t: 'bm' } ? T & { readonly id?: string } : T & { readonly id: string };

/** `bm` without `id` moves the cursor of every subscription that has had its snapshot. */
export type ServerFrame =
  | {
      readonly t: 'welcome';
      readonly v: number;
      readonly session: string;
      readonly epoch: string;
      readonly rev: number;
      readonly heartbeatMs: number;
      readonly limits: { readonly subs: number; readonly frameBytes: number; readonly credit: number };
    }
  | WithId<StreamFrame>
  | { readonly t: 'err'; readonly problem: Problem }
  | { readonly t: 'goaway'; readonly afterMs: number; readonly reason: GoawayReason }
  | { readonly t: 'pong'; readonly n: number };

export function encodeFrame(frame: ClientFrame | ServerFrame | StreamFrame): string {
  return JSON.stringify(frame);
}
