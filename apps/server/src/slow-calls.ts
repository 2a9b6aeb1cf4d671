import type { Clock } from '@muster/base';
import type { GrpcMethod } from '@muster/gateway';
import type { Logger } from './logger.ts';

/** Between lines: where one call is slow, mostly all are. */
const PERIOD_MS = 1000;

/** Logs a call that took too long, and later ones of the same second by their number alone. */
export function slowCallLog(
  clock: Clock,
  logger: Pick<Logger, 'warn'>,
  expectedMs: number,
): (method: GrpcMethod, code: number, seconds: number) => void {
  let quietUntilMs = Number.NEGATIVE_INFINITY;
  let unsaid = 0;
  return ({ service, method }, code, seconds) => {
    const nowMs = clock.nowMs();
    if (nowMs < quietUntilMs) {
      unsaid++;
      return;
    }
    const tookMs = Math.round(seconds * 1000);
    const others = unsaid === 0 ? {} : { others: unsaid };
    logger.warn(
      { method: `/${service}/${method}`, code, tookMs, expectedMs, ...others },
      'a request took too long',
    );
    quietUntilMs = nowMs + PERIOD_MS;
    unsaid = 0;
  };
}
