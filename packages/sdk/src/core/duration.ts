import { MusterError } from './errors.ts';

/** Milliseconds as a number, or text such as `500ms`, `15s`, `2m`, `1h`. */
export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h'}`;

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds; a refusal names the option it was given for. */
export function durationMs(value: Duration, option: string): number {
  if (typeof value === 'number') {
    if (Number.isFinite(value) && value >= 0) return value;
  } else {
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(value);
    if (match) return Number(match[1]) * (UNIT_MS[match[2] as string] as number);
  }
  throw new MusterError(
    'BAD_REQUEST',
    `${option}: expected milliseconds or text such as 500ms, 15s or 2m; got ${JSON.stringify(value)}`,
  );
}
