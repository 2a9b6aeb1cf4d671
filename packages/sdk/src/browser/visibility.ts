import type { Clock, Timer } from '@muster/base';
import type { Connection } from '../core/connection.ts';
import type { Off } from '../core/status.ts';

/** A page hidden for this long lets its socket go: browsers hold back the timers of such pages anyway. */
const HIDDEN_PAUSE_MS = 60_000;

/** Pauses the connection while nobody looks, and wakes it at once when somebody does or the network comes back. */
export function followVisibility(connection: Connection, clock: Clock): Off {
  if (typeof document === 'undefined') return () => {};
  let timer: Timer | undefined;
  const stopTimer = () => {
    if (timer) clock.cancel(timer);
    timer = undefined;
  };
  const onVisibility = () => {
    stopTimer();
    if (document.visibilityState === 'hidden') {
      timer = clock.schedule(HIDDEN_PAUSE_MS, () => connection.pause());
    } else {
      connection.resume();
      connection.nudge();
    }
  };
  const onOnline = () => connection.nudge();
  document.addEventListener('visibilitychange', onVisibility);
  globalThis.addEventListener('online', onOnline);
  globalThis.addEventListener('pageshow', onOnline);
  return () => {
    stopTimer();
    document.removeEventListener('visibilitychange', onVisibility);
    globalThis.removeEventListener('online', onOnline);
    globalThis.removeEventListener('pageshow', onOnline);
  };
}
