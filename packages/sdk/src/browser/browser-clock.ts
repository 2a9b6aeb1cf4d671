import type { Clock, Timer } from '@muster/base';

type BrowserTimer = { cancelled: boolean; handle: ReturnType<typeof setTimeout> };

/** The page's own time. `nowMs` does not follow changes of the wall clock. */
export const browserClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  schedule: (delayMs, run) =>
    ({ cancelled: false, handle: setTimeout(run, Math.ceil(delayMs)) }) satisfies BrowserTimer,
  cancel(timer: Timer) {
    const own = timer as BrowserTimer;
    own.cancelled = true;
    clearTimeout(own.handle);
  },
  defer: (run) => void setTimeout(run, 0),
};
