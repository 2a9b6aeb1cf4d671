const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const PATTERN = /^([0-9]{1,12}(?:\.[0-9]{1,3})?)(ms|s|m|h)$/;

/** What `parseDurationMs` takes, in words for an error. */
export const DURATION_EXPECTED = "a duration like '500ms', '30s', '10m' or '1h'";

/** Milliseconds of `500ms`, `30s`, `1.5m`, `1h`; `undefined` for anything else. Rounded up to a whole number. */
export function parseDurationMs(text: string): number | undefined {
  const match = PATTERN.exec(text);
  if (!match) return undefined;
  return Math.ceil(Number(match[1]) * (UNIT_MS[match[2] as string] as number));
}

/** Whole seconds, rounded up, of a duration or of a number of seconds; `undefined` for anything else. */
export function parseSeconds(value: string | number): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
  const ms = parseDurationMs(value);
  return ms === undefined ? undefined : Math.ceil(ms / 1000);
}
