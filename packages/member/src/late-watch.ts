import type { WatchHandle } from '@muster/kv';

/** A watch that starts once it is known whether it may. `begin` must not reject: a refused watch is a watch too. */
export function lateWatch(begin: Promise<() => WatchHandle>): WatchHandle {
  let handle: WatchHandle | undefined;
  let over = false;
  let wantsProgress = false;
  void begin.then((start) => {
    if (over) return;
    handle = start();
    if (wantsProgress) handle.requestProgress();
  });
  return {
    cancel: () => {
      over = true;
      handle?.cancel();
    },
    resume: () => handle?.resume(),
    requestProgress: () => {
      wantsProgress = true;
      handle?.requestProgress();
    },
    get synced() {
      return handle?.synced ?? false;
    },
    get nextRevision() {
      return handle?.nextRevision ?? 0;
    },
  };
}
