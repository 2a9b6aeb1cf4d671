import type { EtcdClient } from '../client.ts';
import { Exit, errorText, Failure } from '../failure.ts';
import type { Call, Run } from '../line/command.ts';
import { formatDuration } from '../line/duration.ts';
import {
  type EndpointHash,
  type EndpointHealth,
  type EndpointStatus,
  hashKvView,
  healthView,
  statusView,
} from '../print/cluster-views.ts';
import { bytesOf } from '../range.ts';
import type { CLUSTER_FLAGS, HASHKV_FLAGS } from '../tree/cluster.ts';

/** Those of the flags, or with --cluster the client URLs of all members. */
export async function endpointsOf(
  call: Pick<Call, 'connect' | 'signal' | 'globals'> & { readonly flags: { readonly cluster: boolean } },
): Promise<readonly string[]> {
  if (!call.flags.cluster) return call.globals.endpoints;
  const { api, options } = await call.connect();
  const { members } = await api
    .memberList({ linearizable: false }, options(call.signal))
    .catch((error: unknown) => {
      throw new Failure(`failed to fetch endpoints from etcd cluster member list: ${errorText(error)}`);
    });
  return members.flatMap((member) => member.clientUrls);
}

export const endpointStatus: Run<typeof CLUSTER_FLAGS> = async (call) => {
  const list: EndpointStatus[] = [];
  const failed = await eachEndpoint(call, 'get the status of endpoint ', async (endpoint, client) => {
    list.push({ endpoint, status: await client.api.status(client.options(call.signal)) });
  });
  await call.printer.print(statusView(list));
  if (failed !== undefined) throw new Failure('', Exit.ERROR);
};

export const endpointHashKv: Run<typeof HASHKV_FLAGS> = async (call) => {
  const list: EndpointHash[] = [];
  const failed = await eachEndpoint(call, 'get the hash of endpoint ', async (endpoint, client) => {
    const request = { revision: call.flags.rev };
    list.push({ endpoint, hash: await client.api.hashKv(request, client.options(call.signal)) });
  });
  await call.printer.print(hashKvView(list));
  if (failed !== undefined) throw new Failure(failed);
};

/** One after the other; says which failed, goes on, and returns the last error. */
async function eachEndpoint(
  call: Call<typeof CLUSTER_FLAGS>,
  doing: string,
  act: (endpoint: string, client: EtcdClient) => Promise<void>,
): Promise<string | undefined> {
  let failed: string | undefined;
  for (const endpoint of await endpointsOf(call)) {
    try {
      await act(endpoint, await call.connect([endpoint]));
    } catch (error) {
      if (error instanceof Failure) throw error;
      failed = errorText(error);
      call.io.err(`Failed to ${doing}${endpoint} (${failed})\n`);
    }
  }
  return failed;
}

/** All at once, each over its own connection: a read through the log must answer, and no alarm be up. */
export const endpointHealth: Run<typeof CLUSTER_FLAGS> = async (call) => {
  const endpoints = await endpointsOf(call);
  const list = await Promise.all(endpoints.map((endpoint) => healthOf(endpoint, call)));
  if (call.printer.format === 'simple') {
    for (const one of list) call.io.err(healthLine(one));
  } else {
    await call.printer.print(healthView(list));
  }
  if (list.some((one) => !one.health)) throw new Failure('unhealthy cluster');
};

function healthLine({ endpoint, health, took, error }: EndpointHealth): string {
  return health
    ? `${endpoint} is healthy: successfully committed proposal: took = ${took}\n`
    : `${endpoint} is unhealthy: failed to commit proposal: ${error}\n`;
}

const HEALTH_KEY = bytesOf('health');

async function healthOf(endpoint: string, call: Call<typeof CLUSTER_FLAGS>): Promise<EndpointHealth> {
  const client = await call.connect([endpoint]);
  const startedAt = process.hrtime.bigint();
  const took = () => formatDuration(Number(process.hrtime.bigint() - startedAt));
  try {
    await client.api.range({ key: HEALTH_KEY }, client.options(call.signal));
  } catch (error) {
    // Who may not read the key has been answered through the log all the same.
    const text = errorText(error);
    if (!/permission denied/.test(text)) return { endpoint, health: false, took: took(), error: text };
  }
  const tookText = took();
  const alarms = await activeAlarms(client, call.signal);
  if (alarms.length > 0) {
    return { endpoint, health: false, took: tookText, error: `Active Alarm(s): ${alarms.join(' ')} ` };
  }
  return { endpoint, health: true, took: tookText, error: '' };
}

/** None where they may not be asked for. */
async function activeAlarms(client: EtcdClient, signal: AbortSignal): Promise<readonly string[]> {
  try {
    const request = { action: 'get', memberId: 0n, alarm: 'none' } as const;
    const { alarms } = await client.api.alarm(request, client.options(signal));
    return alarms.map((one) => one.alarm.toUpperCase());
  } catch {
    return [];
  }
}
