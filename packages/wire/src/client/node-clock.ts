import type { Clock, Timer } from '@muster/base';

/** The machine's time. Its timers keep the process alive: a call that waits for a connection is under way. */
export class NodeClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  schedule(delayMs: number, run: () => void): Timer {
    const handle = setTimeout(run, delayMs);
    return { cancelled: false, handle } as Timer & { handle: NodeJS.Timeout };
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
