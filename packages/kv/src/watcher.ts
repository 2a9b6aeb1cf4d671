import type { WatchHandle, WatchSink } from './api.ts';
import type { Origin } from './auth/auth-checks.ts';
import type { WatchGroup } from './watch-groups.ts';

/**
 * - `refused`: only waits for its `canceled`
 * - `lagging`: a cursor at `next` with room in its sink; it is in the hub's work queue
 * - `stalled`: a cursor at `next` whose sink is full
 * - `synced`: in its group's list; has every event up to the newest revision
 * - `future`: has nothing to get before the revision `next`, which is beyond the next one
 * - `closed`: nothing is ever delivered again
 */
type WatcherState = 'refused' | 'lagging' | 'stalled' | 'synced' | 'future' | 'closed';

/** What the hub does for a handle. */
export type WatcherOwner = {
  readonly newestRevision: number;
  cancel(watcher: Watcher): void;
  resume(watcher: Watcher): void;
  requestProgress(watcher: Watcher): void;
};

/** One watcher: a cursor and a few flags, never a buffer. Its fields are the hub's; a holder sees a WatchHandle. */
export class Watcher implements WatchHandle {
  readonly owner: WatcherOwner;
  readonly sink: WatchSink;
  /** Who watches. */
  readonly holder: Origin;
  /** Absent on a refused watcher. */
  readonly group: WatchGroup<Watcher> | undefined;
  /** etcd's text for a refused watcher. */
  readonly refusal: string;
  state: WatcherState = 'lagging';
  created = false;
  /** The revision that `created` tells. */
  readonly createdRevision: number;
  /** No event below it is delivered any more. Of a synced watcher at most the newest revision + 1. */
  next: number;
  /** No progress is told below this revision. */
  readonly progressFloor: number;
  /** The watch asked for a revision that was compacted already; it is canceled whatever its group saw. */
  readonly startCompacted: boolean;
  wantsProgress = false;
  /** When the next periodic progress is due; Infinity when not asked for. */
  progressDueMs = Number.POSITIVE_INFINITY;
  /** `next` when the last periodic progress was due: unchanged means idle since. */
  progressMark = 0;
  /** Index in `group.synced`. */
  slot = -1;

  constructor(
    owner: WatcherOwner,
    sink: WatchSink,
    target: WatchGroup<Watcher> | string,
    at: Pick<Watcher, 'createdRevision' | 'next' | 'progressFloor' | 'startCompacted'>,
    holder: Origin,
  ) {
    this.holder = holder;
    this.owner = owner;
    this.sink = sink;
    this.group = typeof target === 'string' ? undefined : target;
    this.refusal = typeof target === 'string' ? target : '';
    if (typeof target === 'string') this.state = 'refused';
    this.createdRevision = at.createdRevision;
    this.next = at.next;
    this.progressFloor = at.progressFloor;
    this.startCompacted = at.startCompacted;
  }

  cancel(): void {
    this.owner.cancel(this);
  }

  resume(): void {
    this.owner.resume(this);
  }

  requestProgress(): void {
    this.owner.requestProgress(this);
  }

  get synced(): boolean {
    if (this.state === 'closed' || this.state === 'refused' || !this.created) return false;
    return this.nextRevision > this.owner.newestRevision;
  }

  get nextRevision(): number {
    const upToDate =
      this.state === 'synced' || (this.state !== 'closed' && this.group?.quietSince(this.next));
    return upToDate ? Math.max(this.next, this.owner.newestRevision + 1) : this.next;
  }

  /** Joins the group's list of synced watchers. */
  join(): void {
    const { synced } = this.group as WatchGroup<Watcher>;
    this.state = 'synced';
    this.slot = synced.push(this) - 1;
  }

  /** Leaves the group's list; the last one takes its place, so that leaving costs the same at any size. */
  leave(): void {
    const { synced } = this.group as WatchGroup<Watcher>;
    const last = synced.pop() as Watcher;
    if (last !== this) {
      synced[this.slot] = last;
      last.slot = this.slot;
    }
    this.slot = -1;
  }
}
