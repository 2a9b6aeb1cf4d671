import type { Clock, Timer } from '@muster/base';

type NodeTimer = { cancelled: boolean; handle: NodeJS.Timeout };

/** The process's own time. `nowMs` does not follow changes of the wall clock. */
export const nodeClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  schedule(delayMs, run) {
    // Node fires a timer up to a millisecond early; a deadline must have passed when its timer says so.
    return { cancelled: false, handle: setTimeout(run, Math.ceil(delayMs)) } satisfies NodeTimer;
  },
  cancel(timer: Timer) {
    const own = timer as NodeTimer;
    own.cancelled = true;
    clearTimeout(own.handle);
  },
  defer: (run) => void setImmediate(run),
};
