import { watchMessages } from '../events.ts';
import { badArgs, Failure } from '../failure.ts';
import type { Call, Run } from '../line/command.ts';
import type { GoValue } from '../print/go-text.ts';
import { leaseText } from '../print/lease-views.ts';
import { bytesOf } from '../range.ts';
import type { DRAIN_FLAGS, SERVICE_FLAGS } from '../tree/service.ts';
import {
  changeOf,
  type InstanceChange,
  type InstanceDocument,
  instanceOf,
  prefixRange,
  type Snapshot,
  servicesPrefix,
} from './service-documents.ts';

type ServiceCall = Call<typeof SERVICE_FLAGS>;

async function read(call: ServiceCall, service: string): Promise<Snapshot> {
  const { namespace } = call.flags;
  const { api, options } = await call.connect();
  const range = prefixRange(servicesPrefix(namespace, service));
  const { header, kvs } = await api.range(range, options(call.signal));
  return { header, instances: kvs.flatMap((kv) => instanceOf(kv, namespace) ?? []) };
}

export const serviceList: Run<typeof SERVICE_FLAGS> = async (call) => {
  if (call.args.length > 0) throw badArgs('service list command accepts no arguments');
  const { instances } = await read(call, '');
  const names = [...new Set(instances.map((one) => one.service))];
  const rows = names.map((name) => {
    const own = instances.filter((one) => one.service === name);
    const count = (status: string) => own.filter((one) => one.status === status).length;
    return { name, instances: own.length, up: count('up'), draining: count('draining') };
  });
  const cells = rows.map((row) => Object.values(row).map(String));
  await call.printer.print({
    simple: () => cells.map((row) => `${row.join(', ')}\n`),
    json: () => rows,
    table: () => ({ head: ['SERVICE', 'INSTANCES', 'UP', 'DRAINING'], rows: cells }),
  });
};

export const serviceShow: Run<typeof SERVICE_FLAGS> = async (call) => {
  const service = onlyService(call.args, 'show');
  const { instances } = await read(call, service);
  if (instances.length === 0) {
    throw new Failure(`no instances of service ${service} in namespace ${call.flags.namespace}`);
  }
  const rows = instances.map(cellsOf);
  await call.printer.print({
    simple: () => rows.map((row) => `${row.join(', ')}\n`),
    json: () => instances.map(jsonOf),
    table: () => ({ head: ['INSTANCE', 'ADDRESS', 'STATUS', 'HEALTH', 'ZONE', 'VERSION', 'LEASE'], rows }),
  });
};

function cellsOf(one: InstanceDocument): string[] {
  const status = one.override?.status === undefined ? one.status : `${one.status} (override)`;
  const lease = one.kv.lease === 0n ? 'none' : leaseText(one.kv.lease);
  return [one.id, one.address, status, one.health, one.zone, one.version, lease];
}

function jsonOf(one: InstanceDocument): GoValue {
  const { service, id, address, status, health, zone, version, override, kv } = one;
  return {
    service,
    id,
    address,
    status,
    health,
    zone,
    version,
    override: override as GoValue | undefined,
    lease: kv.lease,
    create_revision: kv.createRevision,
    mod_revision: kv.modRevision,
  };
}

/** What is there first, as added; then each change as it comes. */
export const serviceWatch: Run<typeof SERVICE_FLAGS> = async (call) => {
  const service = onlyService(call.args, 'watch');
  const { namespace } = call.flags;
  const { header, instances } = await read(call, service);
  for (const instance of instances) await print(call, { change: 'added', instance });
  const { api } = await call.connect();
  const request = {
    ...prefixRange(servicesPrefix(namespace, service)),
    startRevision: (header.revision ?? 0) + 1,
    prevKv: true,
  };
  for await (const message of watchMessages(api, request, call.signal)) {
    if (message.type === 'canceled') throw new Failure(`watch was canceled (${message.reason})`);
    if (message.type !== 'events') continue;
    for (const event of message.batch.events) {
      const change = changeOf(event, namespace);
      if (change) await print(call, change);
    }
  }
};

async function print(call: ServiceCall, { change, instance }: InstanceChange): Promise<void> {
  const row = [change, ...cellsOf(instance)];
  await call.printer.print({
    simple: () => [`${row.join(', ')}\n`],
    json: () => ({ change, instance: jsonOf(instance) }),
  });
}

/** Tries again when the instance changed between reading and writing; heartbeats do that all the time. */
const DRAIN_TRIES = 10;

/** Sets the operator's override, which stays whatever the owner writes; clients then leave the instance. */
export const serviceDrain: Run<typeof DRAIN_FLAGS> = async (call) => {
  const [service, id] = call.args;
  if (!service || !id || call.args.length !== 2) {
    throw badArgs('service drain command needs a service and an instance as its arguments');
  }
  const { namespace, undo } = call.flags;
  const { api, options } = await call.connect();
  const key = bytesOf(`${servicesPrefix(namespace, service)}${id}`);
  for (let attempt = 0; attempt < DRAIN_TRIES; attempt++) {
    const { kvs } = await api.range({ key }, options(call.signal));
    const [kv] = kvs;
    if (!kv) throw new Failure(`no instance ${id} of service ${service} in namespace ${namespace}`);
    const before = instanceOf(kv, namespace);
    if (!before?.stored)
      throw new Failure(`the value of instance ${id} of service ${service} is not its document`);
    const { succeeded } = await api.txn(
      {
        compare: [{ key, target: 'mod', result: 'equal', operand: { kind: 'mod', number: kv.modRevision } }],
        success: [
          { type: 'put', put: { key, value: bytesOf(drained(before.stored, undo)), ignoreLease: true } },
        ],
        failure: [],
      },
      options(call.signal),
    );
    if (!succeeded) continue;
    call.io.out(
      undo
        ? `Instance ${id} of ${service} is no longer drained\n`
        : `Instance ${id} of ${service} is draining\n`,
    );
    return;
  }
  throw new Failure(`instance ${id} of service ${service} changes too often: tried ${DRAIN_TRIES} times`);
};

function drained(stored: Readonly<Record<string, unknown>>, undo: boolean): string {
  const { override, ...own } = stored as { override?: Record<string, unknown> };
  const { status: _, ...others } = override ?? {};
  const next = undo ? others : { ...others, status: 'draining' };
  return JSON.stringify(Object.keys(next).length === 0 ? own : { ...own, override: next });
}

function onlyService(args: readonly string[], action: string): string {
  if (args.length !== 1 || !args[0])
    throw badArgs(`service ${action} command needs a service as its argument`);
  return args[0];
}
