import type { Event, KeyValue, RangeRequest, ResponseHeader } from '@muster/kv';
import { bytesOf, prefixEnd } from '../range.ts';

/** An instance of a service as its key holds it: what the owner said, under what an operator has set. */
export type InstanceDocument = {
  readonly service: string;
  readonly id: string;
  readonly address: string;
  readonly status: string;
  readonly health: string;
  readonly zone: string;
  readonly version: string;
  /** What an operator has set. */
  readonly override: Readonly<Record<string, unknown>> | undefined;
  /** The whole of the document; undefined when the value is none. */
  readonly stored: Readonly<Record<string, unknown>> | undefined;
  readonly kv: KeyValue;
};

/** `/muster/<namespace>/services/`, with the service behind it where one is named; ends in `/`. */
export function servicesPrefix(namespace: string, service = ''): string {
  return `/muster/${namespace}/services/${service === '' ? '' : `${service}/`}`;
}

export function prefixRange(prefix: string): Required<Pick<RangeRequest, 'key' | 'rangeEnd'>> {
  const key = bytesOf(prefix);
  return { key, rangeEnd: prefixEnd(key) };
}

/** Undefined for a key that is no instance's. */
export function instanceOf(kv: KeyValue, namespace: string): InstanceDocument | undefined {
  const name = Buffer.from(kv.key).toString().slice(servicesPrefix(namespace).length).split('/');
  const [service, id] = name;
  if (name.length !== 2 || !service || !id) return undefined;
  const stored = parsed(kv.value);
  const override = objectOf(stored?.override);
  const shown = { ...stored, ...override };
  const text = (key: string) => (typeof shown[key] === 'string' ? (shown[key] as string) : '');
  const port = typeof shown.port === 'number' ? `:${shown.port}` : '';
  return {
    service,
    id,
    address: text('url') || `${text('address')}${port}`,
    status: stored ? text('status') || 'up' : 'malformed',
    health: text('health') || 'unknown',
    zone: text('zone'),
    version: text('version'),
    override,
    stored,
    kv,
  };
}

function parsed(value: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    return objectOf(JSON.parse(Buffer.from(value).toString()));
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

/** One line of `service watch`. */
export type InstanceChange = {
  readonly change: 'added' | 'changed' | 'removed';
  readonly instance: InstanceDocument;
};

export function changeOf(event: Event, namespace: string): InstanceChange | undefined {
  const instance = instanceOf(event.type === 'delete' && event.prevKv ? event.prevKv : event.kv, namespace);
  if (!instance) return undefined;
  if (event.type === 'delete') return { change: 'removed', instance };
  return { change: event.kv.version === 1 ? 'added' : 'changed', instance };
}

export type Snapshot = { readonly header: ResponseHeader; readonly instances: readonly InstanceDocument[] };
