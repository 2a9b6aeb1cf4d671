/** Go's durations: as flags read them and as results print them. */
export type Duration = { readonly text: string; readonly ms: number };

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** `1h2m3.5s`, `100ms`, `0`; undefined when it is none. */
export function parseDuration(text: string): Duration | undefined {
  const body = text.replace(/^[+-]/, '');
  if (body === '0') return { text, ms: 0 };
  if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(body)) return undefined;
  let ms = 0;
  for (const match of body.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    ms += Number(match[1]) * (UNITS_MS[match[2] as string] as number);
  }
  return { text, ms: text.startsWith('-') ? -ms : ms };
}

/** As Go prints a duration: `1.951539ms`, `2.5s`, `1m3s`. */
export function formatDuration(nanoseconds: number): string {
  if (nanoseconds === 0) return '0s';
  if (nanoseconds < 1e3) return `${nanoseconds}ns`;
  if (nanoseconds < 1e6) return `${trimmed(nanoseconds / 1e3, 3)}µs`;
  if (nanoseconds < 1e9) return `${trimmed(nanoseconds / 1e6, 6)}ms`;
  const seconds = nanoseconds / 1e9;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = `${trimmed(seconds - hours * 3600 - minutes * 60, 9)}s`;
  if (hours > 0) return `${hours}h${minutes}m${rest}`;
  return minutes > 0 ? `${minutes}m${rest}` : rest;
}

function trimmed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}
