/** How the text of a flag or variable becomes a value. The sentences are those of etcd, and of Go's flag package. */

/** What is wrong with a value: the part after `invalid value "x" for flag -y: `. */
export class BadValue extends Error {
  override readonly name = 'BadValue';
}

/** Go's message for booleans differs from that for everything else. */
export class BadBoolean extends BadValue {}

export type Parser<T> = (text: string) => T;

const INT = /^[+-]?\d+$/;
const UINT = /^\d+$/;

export function parseText(text: string): string {
  return text;
}

export function parseBoolean(text: string): boolean {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false;
  throw new BadBoolean('parse error');
}

/** A whole number that JavaScript keeps exactly; etcd's own range is wider. */
export function parseInteger(text: string): number {
  if (!INT.test(text)) throw new BadValue('parse error');
  return inRange(Number(text));
}

export function parseUnsigned(text: string): number {
  if (!UINT.test(text)) throw new BadValue('parse error');
  return inRange(Number(text));
}

export function parsePositive(text: string): number {
  const value = parseUnsigned(text);
  if (value === 0) throw new BadValue('expected a whole number above 0');
  return value;
}

function inRange(value: number): number {
  if (!Number.isSafeInteger(value)) throw new BadValue('value out of range');
  return value;
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Milliseconds of a duration as Go writes it ("1h30m", "250ms", "0"), or `undefined`. */
export function durationMs(text: string): number | undefined {
  const match = /^([+-]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+|0)$/.exec(text);
  if (!match) return undefined;
  let sum = 0;
  for (const [, count, unit] of (match[2] as string).matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)) {
    sum += Number(count) * (UNIT_MS[unit as string] as number);
  }
  return match[1] === '-' ? -sum : sum;
}

/** In milliseconds, fractions kept. */
export function parseDuration(text: string): number {
  const value = durationMs(text);
  if (value === undefined) throw new BadValue('parse error');
  return value;
}

/** In whole milliseconds, rounded up. */
export function parsePositiveDuration(text: string): number {
  const value = parseDuration(text);
  if (value <= 0) throw new BadValue('expected a duration above 0, such as 30s');
  return Math.ceil(value);
}

/** Comma-separated URLs that something listens on or is reached at. Sorted, as etcd keeps them. */
export function parseUrls(text: string): string[] {
  return text
    .split(',')
    .map((url) => checkedUrl(url.trim()))
    .sort();
}

/** As `parseUrls`; an empty text is an empty list. */
export function parseUrlsOrNone(text: string): string[] {
  return text.trim() === '' ? [] : parseUrls(text);
}

const SCHEMES = ['http:', 'https:', 'unix:', 'unixs:'];

function checkedUrl(url: string): string {
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:/.test(url)) {
    if (/^[^/?#]*:/.test(url))
      throw new BadValue(`parse "${url}": first path segment in URL cannot contain colon`);
    throw new BadValue(`URL scheme must be http, https, unix, or unixs: ${url}`);
  }
  const scheme = url.slice(0, url.indexOf(':') + 1).toLowerCase();
  if (!SCHEMES.includes(scheme)) {
    throw new BadValue(`URL scheme must be http, https, unix, or unixs: ${url}`);
  }
  if (scheme.startsWith('unix')) return url;
  const match = /^[^:]*:\/\/([^/?#]*)(.*)$/.exec(url);
  const authority = match?.[1] ?? '';
  const port = /^(?:\[[^\]]*\]|[^:@[\]]+):(\d+)$/.exec(authority)?.[1];
  if (port === undefined) throw new BadValue(`URL address does not have the form "host:port": ${url}`);
  if (match?.[2] !== '') throw new BadValue(`URL must not contain a path: ${url}`);
  if (Number(port) > 65535) throw new BadValue(`address ${port}: invalid port`);
  return url;
}

/** Either `*`, or origins and hosts; the URLs among them must be whole. */
export function parseOrigins(text: string): string[] {
  if (text.trim() === '') return ['*'];
  return text.split(',').map((one) => {
    const origin = one.trim();
    if (origin === '*') return origin;
    if (!/^https?:\/\//.test(origin)) {
      throw new BadValue(`URL scheme must be http, https, unix, or unixs: ${origin}`);
    }
    if (!URL.canParse(origin) || new URL(origin).origin !== origin) {
      throw new BadValue(`an origin has the form scheme://host:port, without a path: ${origin}`);
    }
    return origin;
  });
}

export function parseOriginsOrNone(text: string): string[] {
  return text.trim() === '' ? [] : parseOrigins(text);
}

export function parseHosts(text: string): string[] {
  const hosts = text.split(',').map((host) => host.trim());
  return hosts.every((host) => host === '') ? ['*'] : hosts;
}

/** One of a few words, refused in etcd's words. */
export function parseChoice<const T extends string>(choices: readonly T[]): Parser<T> {
  return (text) => {
    const choice = choices.find((one) => one === text);
    if (choice === undefined) throw new BadValue('invalid value');
    return choice;
  };
}

/** One of a few words, refused with a list of them. */
export function parseOneOf<const T extends string>(choices: readonly T[]): Parser<T> {
  return (text) => {
    const choice = choices.find((one) => one === text);
    if (choice === undefined) throw new BadValue(`expected one of ${choices.join(', ')}`);
    return choice;
  };
}

/** Comma-separated, without blanks; an empty text is an empty list. */
export function parseNames(text: string): string[] {
  return text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

/** TLS as etcd names it, as Node does; empty is no choice. */
export function parseTlsVersion(text: string): 'TLSv1.2' | 'TLSv1.3' | undefined {
  if (text === '') return undefined;
  if (text !== 'TLS1.2' && text !== 'TLS1.3') throw new BadValue(`unexpected TLS version "${text}"`);
  return `TLSv${text.slice(3) as '1.2' | '1.3'}`;
}

/** Features that etcd 3.6 knows; a name that is none of them is refused as there. */
const FEATURES: ReadonlySet<string> = new Set([
  'AllAlpha',
  'AllBeta',
  'CompactHashCheck',
  'InitialCorruptCheck',
  'LeaseCheckpoint',
  'LeaseCheckpointPersist',
  'SetMemberLocalAddr',
  'StopGRPCServiceOnDefrag',
  'TxnModeWriteWithSharedBuffer',
  'FastLeaseKeepAlive',
  'PriorityRequest',
]);

/** `Name=true,Other=false`. */
export function parseFeatureGates(text: string): ReadonlyMap<string, boolean> {
  const gates = new Map<string, boolean>();
  for (const pair of parseNames(text)) {
    const [name = '', value] = pair.split('=').map((part) => part.trim());
    if (value === undefined) throw new BadValue(`missing bool value for ${name}`);
    if (!FEATURES.has(name)) throw new BadValue(`unrecognized feature gate: ${name}`);
    try {
      gates.set(name, parseBoolean(value));
    } catch {
      throw new BadValue(`invalid value of ${name}=${value}, expected true or false`);
    }
  }
  return gates;
}
