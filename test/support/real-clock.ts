import type { Clock, Timer } from '@muster/base';

/** The machine's own time, for tests of real members. Its timers do not keep the process alive. */
export class RealClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  schedule(delayMs: number, run: () => void): Timer {
    const timer = { cancelled: false, handle: setTimeout(run, delayMs) };
    timer.handle.unref();
    return timer;
  }

  cancel(timer: Timer): void {
    const own = timer as { cancelled: boolean; handle: NodeJS.Timeout };
    own.cancelled = true;
    clearTimeout(own.handle);
  }

  defer(run: () => void): void {
    setImmediate(run);
  }
}
