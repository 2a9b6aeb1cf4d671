/** `/v1/services`: who is registered, and registering. */
import {
  type Instance,
  type InstanceList,
  idToHex,
  KvError,
  leaseIdFromHex,
  type RegistrationResult,
  type ServiceList,
  type ServiceSummary,
} from '@muster/contract';
import { revisionOf, type V1Context } from '../context.ts';
import { formatCursor, parseCursor } from '../cursors.ts';
import { keyEtag, matchesNone, parseEtags, SelectionEtag } from '../etags.ts';
import {
  DEFAULT_NAMESPACE,
  type InstanceFilter,
  instanceKey,
  instanceOf,
  matchesFilter,
  serviceSpan,
} from '../instances.ts';
import { answerConditional, type Look } from '../long-poll.ts';
import type { InstanceId, Registered, Registry } from '../registry.ts';
import type { V1Request } from '../router.ts';
import { scanAll } from '../scan.ts';
import { json, storeHeaders } from './kv.ts';
import { waitOf } from './waits.ts';

type Namespaced = { readonly query: { readonly ns?: string }; header(name: string): string | undefined };

function namespaceOf(request: Namespaced): string {
  return request.query.ns ?? request.header('x-namespace') ?? DEFAULT_NAMESPACE;
}

function instanceId(request: Namespaced & { path(name: string): string }): InstanceId {
  return { ns: namespaceOf(request), service: request.path('name'), id: request.path('id') };
}

/** What the query asks of instances; `meta.<name>` parameters become `metadata`. */
function filterOf(query: Readonly<Record<string, unknown>>): InstanceFilter {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(query)) {
    if (name.startsWith('meta.')) metadata[name.slice('meta.'.length)] = value as string;
  }
  const picked: Record<string, unknown> = {};
  for (const name of ['status', 'health', 'zone', 'version', 'tag']) {
    if (query[name] !== undefined) picked[name] = query[name];
  }
  return { ...picked, ...(Object.keys(metadata).length > 0 ? { metadata } : {}) };
}

export async function listServices(
  context: V1Context,
  request: V1Request<'listServices'>,
): Promise<Response> {
  const ns = namespaceOf(request);
  const span = serviceSpan(ns, '*');
  const serializable = request.query.consistency === 'serializable';
  const look = async (): Promise<Look> => {
    const { header, revision, kvs } = await scanAll(
      context.api,
      { span, serializable },
      context.limits,
      request.call,
    );
    const etag = new SelectionEtag();
    const services = new Map<string, ServiceSummary>();
    for (const kv of kvs) {
      const instance = instanceOf(kv, ns);
      if (!instance) continue;
      etag.add(kv.key, kv.modRevision);
      count(services, instance);
    }
    const tag = etag.text();
    const respond = () => {
      const cursor = formatCursor(context.epochOf(header), revision);
      const body: ServiceList = {
        revision,
        cursor,
        services: [...services.values()].sort((a, b) => (a.name < b.name ? -1 : 1)),
      };
      const headers = storeHeaders(context, header, revision);
      headers.set('etag', tag);
      return json(body, 200, headers);
    };
    return { header, etag: tag, respond };
  };
  return answerConditional(context, { span, look, ...conditionsOf(request) });
}

function count(services: Map<string, ServiceSummary>, { service: name, status, health }: Instance): void {
  const summary = services.get(name) ?? { name, instances: 0, status: {}, health: {} };
  summary.instances++;
  summary.status[status] = (summary.status[status] ?? 0) + 1;
  summary.health[health] = (summary.health[health] ?? 0) + 1;
  services.set(name, summary);
}

function conditionsOf(request: V1Request<'listServices'> | V1Request<'listInstances'>) {
  const { since } = request.query;
  return {
    ifNoneMatch: parseEtags(request.header('if-none-match'), 'If-None-Match'),
    ...waitOf(request),
    ...(since === undefined ? {} : { since: parseCursor(since) }),
    signal: () => request.signal(),
    call: request.call,
  };
}

export async function listInstances(
  context: V1Context,
  request: V1Request<'listInstances'>,
): Promise<Response> {
  const ns = namespaceOf(request);
  const service = request.path('name');
  const span = serviceSpan(ns, service);
  const filter = filterOf(request.query);
  const serializable = request.query.consistency === 'serializable';
  const limit = request.query.limit ?? Number.POSITIVE_INFINITY;
  const look = async (): Promise<Look> => {
    const { header, revision, kvs } = await scanAll(
      context.api,
      { span, serializable },
      context.limits,
      request.call,
    );
    const etag = new SelectionEtag();
    const instances: Instance[] = [];
    for (const kv of kvs) {
      const instance = instanceOf(kv, ns);
      if (!instance || !matchesFilter(instance, filter) || instances.length >= limit) continue;
      etag.add(kv.key, kv.modRevision);
      instances.push(instance);
    }
    const tag = etag.text();
    const respond = () => {
      const cursor = formatCursor(context.epochOf(header), revision);
      const body: InstanceList = { service, revision, cursor, instances };
      const headers = storeHeaders(context, header, revision);
      headers.set('etag', tag);
      return json(body, 200, headers);
    };
    return { header, etag: tag, respond };
  };
  return answerConditional(context, { span, look, ...conditionsOf(request) });
}

export async function getInstance(context: V1Context, request: V1Request<'getInstance'>): Promise<Response> {
  const name = instanceId(request);
  const key = instanceKey(name.ns, name.service, name.id);
  const serializable = request.query.consistency === 'serializable';
  const { header, kvs } = await context.api.range({ key, serializable }, request.call);
  const kv = kvs[0];
  const instance = kv && instanceOf(kv, name.ns);
  if (!kv || !instance) {
    throw new KvError('NOT_FOUND', { detail: `service ${name.service} has no instance ${name.id}` });
  }
  const headers = storeHeaders(context, header);
  headers.set('etag', keyEtag(kv.modRevision));
  const none = parseEtags(request.header('if-none-match'), 'If-None-Match');
  if (none && !matchesNone(none, keyEtag(kv.modRevision)))
    return new Response(null, { status: 304, headers });
  return json(instance, 200, headers);
}

export async function putInstance(
  context: V1Context,
  registry: Registry,
  request: V1Request<'putInstance'>,
): Promise<Response> {
  const name = instanceId(request);
  const registered = await registry.register(name, await request.json(), request.call);
  return registrationResponse(context, name, registered);
}

export async function heartbeatInstance(
  context: V1Context,
  registry: Registry,
  request: V1Request<'heartbeatInstance'>,
): Promise<Response> {
  const name = instanceId(request);
  const registered = await registry.heartbeat(name, (await request.optionalJson()) ?? {}, request.call);
  return registrationResponse(context, name, registered);
}

function registrationResponse(context: V1Context, name: InstanceId, registered: Registered): Response {
  const { header, lease, ttlSeconds, modRevision, created } = registered;
  const body: RegistrationResult = {
    service: name.service,
    id: name.id,
    leaseId: idToHex(lease),
    revision: revisionOf(header),
    modRevision,
    ttl: ttlSeconds,
    heartbeatEvery: Math.round((ttlSeconds / 3) * 1000) / 1000,
  };
  const headers = storeHeaders(context, header);
  headers.set('cache-control', 'no-store');
  headers.set('etag', keyEtag(modRevision));
  return json(body, created ? 201 : 200, headers);
}

export async function patchInstance(
  context: V1Context,
  registry: Registry,
  request: V1Request<'patchInstance'>,
): Promise<Response> {
  const name = instanceId(request);
  const match = parseEtags(request.header('if-match'), 'If-Match');
  const { header, kv } = await registry.patch(name, await request.json(), match, request.call);
  const headers = storeHeaders(context, header);
  headers.set('etag', keyEtag(kv.modRevision));
  return json(instanceOf(kv, name.ns), 200, headers);
}

export async function deleteInstance(
  context: V1Context,
  registry: Registry,
  request: V1Request<'deleteInstance'>,
): Promise<Response> {
  const { leaseId } = request.query;
  const lease = leaseId === undefined ? undefined : leaseIdFromHex(leaseId);
  const header = await registry.deregister(instanceId(request), lease, request.call);
  return new Response(null, { status: 204, headers: storeHeaders(context, header) });
}

/** Weighted random choice; a shell script has no state to balance with. */
export async function pickInstance(
  context: V1Context,
  request: V1Request<'pickInstance'>,
): Promise<Response> {
  const ns = namespaceOf(request);
  const service = request.path('name');
  const serializable = request.query.consistency === 'serializable';
  const span = serviceSpan(ns, service);
  const { header, kvs } = await scanAll(context.api, { span, serializable }, context.limits, request.call);
  const filter: InstanceFilter = { ...filterOf(request.query), status: ['up'] };
  const candidates = kvs
    .map((kv) => instanceOf(kv, ns))
    .filter(
      (i): i is Instance =>
        i !== undefined && matchesFilter(i, filter) && i.health !== 'critical' && i.weight > 0,
    );
  const headers = storeHeaders(context, header);
  headers.set('cache-control', 'no-store');
  const total = candidates.reduce((sum, { weight }) => sum + weight, 0);
  let at = context.prng.float() * total;
  const picked = candidates.find(({ weight }) => (at -= weight) < 0) ?? candidates.at(-1);
  if (!picked) {
    throw new KvError('NO_INSTANCE', {
      detail: `no instance of ${service} is up, not critical, and passes the filters`,
    });
  }
  return json(picked, 200, headers);
}
