import type { Clock, Timer } from '@muster/base';

/** Node's timers take no longer delay: they would end at once. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

type NodeTimer = { readonly cancelled: boolean; handle: NodeJS.Timeout | undefined };

/** The machine's time. Its timers keep the process alive: a call that waits for a connection is under way. */
export class NodeClock implements Clock {
  nowMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return Date.now();
  }

  schedule(delayMs: number, run: () => void): Timer {
    const timer: NodeTimer = { cancelled: false, handle: undefined };
    const wait = (leftMs: number): void => {
      const then = leftMs > TIMEOUT_MS_MAX ? () => wait(leftMs - TIMEOUT_MS_MAX) : run;
      timer.handle = setTimeout(then, Math.min(leftMs, TIMEOUT_MS_MAX));
    };
    wait(delayMs);
    return timer;
  }

  cancel(timer: Timer): void {
    const own = timer as { cancelled: boolean; handle: NodeJS.Timeout | undefined };
    own.cancelled = true;
    clearTimeout(own.handle);
  }

  defer(run: () => void): void {
    setImmediate(run);
  }
}
