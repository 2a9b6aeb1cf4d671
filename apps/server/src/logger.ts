import type { MemberLog } from '@muster/member';
import {
  type DestinationStream,
  destination,
  type Level,
  type Logger,
  multistream,
  pino,
  stdTimeFunctions,
} from 'pino';
import { StartRefused } from './start-refused.ts';

export type { Logger } from 'pino';

type LogOptions = {
  readonly level: Level;
  readonly format: 'json' | 'console';
  /** `stderr`, `stdout`, or paths of files, which are appended to. */
  readonly outputs: readonly string[];
};

/**
 * One JSON object a line, or for people a line with tabs. Written at once: a member logs little, and what it says just
 * before it dies is what is looked for. Throws `StartRefused` when a file cannot be opened.
 */
export function createLogger({ level, format, outputs }: LogOptions): Logger {
  const streams = outputs.map((output) => {
    const stream = openOutput(output);
    return { level, stream: format === 'console' ? new ConsoleLines(stream) : stream };
  });
  return pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    streams.length === 1 ? (streams[0]?.stream as DestinationStream) : multistream(streams),
  );
}

function openOutput(output: string): DestinationStream {
  if (output === 'stderr') return destination({ fd: 2, sync: true });
  if (output === 'stdout') return destination({ fd: 1, sync: true });
  try {
    return destination({ dest: output, sync: true, append: true });
  } catch (error) {
    throw new StartRefused(`couldn't open sink ${JSON.stringify(output)}: ${(error as Error).message}`);
  }
}

/** Time, level, text, and the rest as JSON, with tabs between them, as etcd's console format. */
class ConsoleLines implements DestinationStream {
  readonly #to: DestinationStream;

  constructor(to: DestinationStream) {
    this.#to = to;
  }

  write(line: string): void {
    const { level, time, pid: _, msg, ...rest } = JSON.parse(line) as Record<string, unknown>;
    const fields = Object.keys(rest).length === 0 ? '' : `\t${JSON.stringify(rest)}`;
    this.#to.write(`${time}\t${level}\t${msg ?? ''}${fields}\n`);
  }
}

/** The logger as the member's port. */
export function memberLog(logger: Logger): MemberLog {
  return (level, text, fields) => {
    if (fields === undefined) logger[level](text);
    else logger[level](fields, text);
  };
}
