import type { Level } from './flags.ts';

type Write = (fields: object, message: string) => void;

export type Logger = {
  readonly debug: Write;
  readonly info: Write;
  readonly warn: Write;
  readonly error: Write;
};

const ORDER: readonly Level[] = ['debug', 'info', 'warn', 'error'];

/** One JSON object a line, errors spelled out. */
export function createLogger(level: Level, write: (line: string) => void): Logger {
  const at =
    (own: Level): Write =>
    (fields, message) => {
      if (ORDER.indexOf(own) < ORDER.indexOf(level)) return;
      const head = { level: own, time: new Date().toISOString(), pid: process.pid };
      write(`${JSON.stringify({ ...head, ...fields, msg: message }, spell)}\n`);
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function spell(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  if (!(value instanceof Error)) return value;
  return { type: value.name, message: value.message, stack: value.stack };
}
