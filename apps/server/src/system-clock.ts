import type { Clock, Timer } from '@muster/base';

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
    timer.handle = setTimeout(() => {
      if (!timer.cancelled) run();
    }, delayMs);
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
