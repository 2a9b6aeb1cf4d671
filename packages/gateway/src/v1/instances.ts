/** Instance documents: how a registration is stored, how it is shown, and which ones a filter lets through. */
import { utf8, utf8TextOrUndefined } from '@muster/base';
import {
  INSTANCE_HEALTHS,
  INSTANCE_STATUSES,
  type Instance,
  type InstanceHealth,
  type InstanceOverride,
  type InstancePut,
  type InstanceStatus,
  idToHex,
} from '@muster/contract';
import type { KeyValue } from '@muster/kv';
import { type KeySpan, prefixSpan } from './keys.ts';

export const DEFAULT_NAMESPACE = 'default';

/** `/muster/<ns>/services/<name>/<id>`; every prefix that is made of it ends in `/`. */
function servicesPrefix(ns: string): string {
  return `/muster/${ns}/services/`;
}

export function instanceKey(ns: string, service: string, id: string): Uint8Array {
  return utf8(`${servicesPrefix(ns)}${service}/${id}`);
}

/** Instances of one service, or of all of the namespace with `*`. */
export function serviceSpan(ns: string, service: string): Required<KeySpan> {
  return prefixSpan(utf8(service === '*' ? servicesPrefix(ns) : `${servicesPrefix(ns)}${service}/`));
}

/** What is stored: what the owner said, and apart from it what an operator has set. */
export type StoredInstance = {
  url?: string;
  address?: string;
  port?: number;
  version?: string;
  zone?: string;
  weight?: number;
  tags?: string[];
  metadata?: Record<string, string>;
  status: InstanceStatus;
  health: InstanceHealth;
  load?: number;
  /** Seconds. */
  ttl?: number;
  override?: InstanceOverride;
};

/** What a put says of an instance, `before` giving the operator's part that stays. */
export function storedFromPut(
  put: InstancePut,
  ttlSeconds: number,
  before: StoredInstance | undefined,
): StoredInstance {
  const { leaseId: _, ttl: __, status, health, ...own } = put;
  return {
    ...own,
    status: status ?? 'up',
    health: health ?? before?.health ?? 'unknown',
    ttl: ttlSeconds,
    ...(before?.override ? { override: before.override } : {}),
  };
}

export function encodeStored(stored: StoredInstance): Uint8Array {
  return utf8(JSON.stringify(stored));
}

/** The stored document, or `undefined` when the value is none (another client may have written anything there). */
export function decodeStored(value: Uint8Array): StoredInstance | undefined {
  const text = utf8TextOrUndefined(value);
  if (text === undefined) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isObject(parsed) ? cleaned(parsed) : undefined;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Keeps the members that have their proper type and drops the others: what is shown must hold to its schema. */
function cleaned(from: Record<string, unknown>): StoredInstance {
  const { override } = from;
  const { port, ttl, load } = from;
  return {
    ...texts(from, ['url', 'address', 'version', 'zone']),
    ...(Number.isInteger(port) ? { port: port as number } : {}),
    ...(Number.isInteger(ttl) ? { ttl: ttl as number } : {}),
    ...(typeof load === 'number' ? { load } : {}),
    ...(isObject(from.metadata) ? { metadata: textMembers(from.metadata) } : {}),
    ...mutable(from),
    status: statusOf(from.status) ?? 'up',
    health: INSTANCE_HEALTHS.find((h) => h === from.health) ?? 'unknown',
    ...(isObject(override) ? { override: mutable(override) } : {}),
  };
}

function statusOf(value: unknown): InstanceStatus | undefined {
  return INSTANCE_STATUSES.find((s) => s === value);
}

function mutable(from: Record<string, unknown>): InstanceOverride {
  const { weight, tags } = from;
  const status = statusOf(from.status);
  return {
    ...(status ? { status } : {}),
    ...(typeof weight === 'number' ? { weight } : {}),
    ...(Array.isArray(tags) ? { tags: tags.filter((tag): tag is string => typeof tag === 'string') } : {}),
  };
}

function texts(from: Record<string, unknown>, names: readonly ('url' | 'address' | 'version' | 'zone')[]) {
  const out: Partial<Record<(typeof names)[number], string>> = {};
  for (const name of names) if (typeof from[name] === 'string') out[name] = from[name];
  return out;
}

function textMembers(from: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(from).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

/** Service and id out of a key under the namespace's prefix; `undefined` for a key that is no instance's. */
export function instanceName(
  key: Uint8Array,
  ns: string,
): { readonly service: string; readonly id: string } | undefined {
  const text = utf8TextOrUndefined(key);
  const prefix = servicesPrefix(ns);
  if (!text?.startsWith(prefix)) return undefined;
  const slash = text.indexOf('/', prefix.length);
  if (slash <= prefix.length || slash === text.length - 1) return undefined;
  return { service: text.slice(prefix.length, slash), id: text.slice(slash + 1) };
}

/** An instance as it counts: the operator's overrides over what the owner said. */
export function instanceOf(kv: KeyValue, ns: string): Instance | undefined {
  const name = instanceName(kv.key, ns);
  if (!name) return undefined;
  const stored = decodeStored(kv.value);
  const { override, weight, tags, metadata, ...own }: StoredInstance = stored ?? {
    status: 'up',
    health: 'unknown',
  };
  return {
    ...name,
    ...own,
    weight: weight ?? 1,
    tags: tags ?? [],
    metadata: metadata ?? {},
    ...override,
    ...(override && Object.keys(override).length > 0 ? { override } : {}),
    ...(stored ? {} : { malformed: true }),
    ...(kv.lease === 0n ? {} : { leaseId: idToHex(kv.lease) }),
    createRevision: kv.createRevision,
    modRevision: kv.modRevision,
  };
}

export type InstanceFilter = {
  readonly status?: readonly string[];
  readonly health?: readonly string[];
  readonly zone?: string;
  readonly version?: string;
  readonly tag?: readonly string[];
  readonly metadata?: Readonly<Record<string, string>>;
};

export function matchesFilter(instance: Instance, filter: InstanceFilter): boolean {
  if (filter.status && !filter.status.includes(instance.status)) return false;
  if (filter.health && !filter.health.includes(instance.health)) return false;
  if (filter.zone !== undefined && instance.zone !== filter.zone) return false;
  if (filter.version !== undefined && !matchesVersion(instance.version, filter.version)) return false;
  if (filter.tag && !filter.tag.every((tag) => instance.tags.includes(tag))) return false;
  const { metadata } = filter;
  return !metadata || Object.entries(metadata).every(([name, value]) => instance.metadata[name] === value);
}

/** Exact, or after `^` the same first part and none of the following ones lower. */
export function matchesVersion(version: string | undefined, wanted: string): boolean {
  if (version === undefined) return false;
  if (!wanted.startsWith('^')) return version === wanted;
  const least = numbersOf(wanted.slice(1));
  const actual = numbersOf(version);
  if (!least || !actual || actual[0] !== least[0]) return false;
  for (let i = 1; i < least.length; i++) {
    const difference = (actual[i] ?? 0) - (least[i] as number);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** `2.1.3` of `v2.1.3-rc.1`; `undefined` when it does not begin with a number. */
function numbersOf(version: string): number[] | undefined {
  const match = /^v?(\d{1,9}(?:\.\d{1,9}){0,3})/.exec(version);
  return match?.[1]?.split('.').map(Number);
}
