import type { Clock, Timer } from '@muster/base';

/** Node's timers take no longer delay: they would end at once. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

type SystemTimer = { cancelled: boolean; handle: NodeJS.Timeout | undefined };

/** The machine's time, and the event loop's timers. */
export class SystemClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  schedule(delayMs: number, run: () => void): Timer {
    const timer: SystemTimer = { cancelled: false, handle: undefined };
    const wait = (leftMs: number): void => {
      timer.handle = setTimeout(
        () => {
          if (timer.cancelled) return;
          if (leftMs > TIMEOUT_MS_MAX) wait(leftMs - TIMEOUT_MS_MAX);
          else run();
        },
        Math.min(leftMs, TIMEOUT_MS_MAX),
      );
    };
    wait(delayMs);
    return timer;
  }

  cancel(timer: Timer): void {
    const own = timer as SystemTimer;
    own.cancelled = true;
    clearTimeout(own.handle);
  }

  defer(run: () => void): void {
    setImmediate(run);
  }
}
