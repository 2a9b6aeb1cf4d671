import type { MemberLog } from '@muster/member';
import { destination, type Level, type Logger, pino, stdTimeFunctions } from 'pino';

export type { Logger } from 'pino';

/**
 * One JSON object a line on stderr. Written at once: a member logs little, and what it says just before it dies is
 * what is looked for.
 */
export function createLogger(level: Level): Logger {
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination({ fd: 2, sync: true }),
  );
}

/** The logger as the member's port. */
export function memberLog(logger: Logger): MemberLog {
  return (level, text, fields) => {
    if (fields === undefined) logger[level](text);
    else logger[level](fields, text);
  };
}
