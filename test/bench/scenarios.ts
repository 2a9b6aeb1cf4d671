/** What is measured, in stages that each have a fresh cluster. */
import { PutRequestSchema, RangeRequestSchema } from '../../packages/wire/src/gen/rpc_pb.js';
import { debianProgram } from '../support/debian.ts';
import { bulkLoad } from './bulk.ts';
import { fanOut } from './fan-out.ts';
import { grpcLoad } from './h2load.ts';
import { leaderGaps } from './leader-gap.ts';
import { type Cluster, leaderOf, type Node, post, residentBytes, serving } from './servers.ts';
import type { WatchKind } from './watchers.ts';
import { load, type WrkOptions } from './wrk.ts';

export type Size = {
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly connections: number;
  readonly threads: number;
  /** Keys that the load of wrk falls on. */
  readonly keys: number;
  readonly watches: number;
  /** Least number of values put under the watches; fast servers get more. */
  readonly events: number;
  readonly manyKeys: number;
  readonly leaderKills: number;
};

export const FULL: Size = {
  seconds: 10,
  warmUpSeconds: 3,
  connections: 64,
  threads: 1,
  keys: 100_000,
  watches: 1000,
  events: 200,
  manyKeys: 1_000_000,
  leaderKills: 10,
};

export const QUICK: Size = {
  seconds: 1,
  warmUpSeconds: 1,
  connections: 8,
  threads: 1,
  keys: 200,
  watches: 10,
  events: 20,
  manyKeys: 2000,
  leaderKills: 1,
};

const VALUE_BYTES = 256;
/** A fan-out that ends sooner than this is measured again with more events. */
const FAN_OUT_SECONDS = 4;
const ALL_KEYS = { key: 'AA==', range_end: 'AA==', count_only: true };
const COUNT_TIMEOUT_MS = 60_000;

/** One line of the table. `perSecond` and the like: see `unit`. */
export type Row = {
  readonly id: string;
  readonly title: string;
  readonly unit: '/s' | 'ms' | 'MB' | 's' | 'CPU-s per million';
  /** Muster's figure must be `least` times etcd's at least, or `most` times at most, or below `limit` of the unit. */
  readonly target:
    | { readonly least: number }
    | { readonly most: number }
    | { readonly limit: number }
    | undefined;
};

export type Figure = { readonly id: string; readonly value: number; readonly note?: string };

const rate = (id: string, title: string, least?: number): Row => ({
  id,
  title,
  unit: '/s',
  target: least === undefined ? undefined : { least },
});

export const ROWS: readonly Row[] = [
  rate('put1', 'JSON put, one node, durable', 2.5),
  { id: 'put1.p99', title: '- p99', unit: 'ms', target: { most: 1 } },
  rate('range1', 'JSON linearizable range, one node', 4),
  { id: 'range1.p99', title: '- p99', unit: 'ms', target: undefined },
  rate('serializable1', 'JSON serializable range, one node'),
  rate('grpc.put', 'gRPC put, one node, durable', 1),
  rate('grpc.range', 'gRPC linearizable range, one node', 1.5),
  rate('http', 'Events delivered, watches as HTTP streams (/v3/watch)', 10),
  { id: 'http.cpu', title: '- CPU of the server', unit: 'CPU-s per million', target: undefined },
  rate('socket', 'Events delivered, watches as WebSockets (/v3/watch)', 10),
  { id: 'socket.cpu', title: '- CPU of the server', unit: 'CPU-s per million', target: undefined },
  rate('v1', 'Events delivered, watches as WebSockets (/v1/watch)'),
  { id: 'v1.cpu', title: '- CPU of the server', unit: 'CPU-s per million', target: undefined },
  rate('bulk', 'Bulk load, 100 puts a txn, 8 in flight, one node, puts', 1),
  { id: 'memory', title: 'Resident memory with many keys of 256 B', unit: 'MB', target: { most: 0.5 } },
  { id: 'memory.anonymous', title: '- without pages of files', unit: 'MB', target: undefined },
  { id: 'memory.restarted', title: '- after a restart', unit: 'MB', target: undefined },
  {
    id: 'restart',
    title: 'Restart with them, to the first linearizable read',
    unit: 's',
    target: { limit: 0.5 },
  },
  rate('put3', 'JSON put, three nodes on the machine', 2),
  { id: 'put3.p99', title: '- p99', unit: 'ms', target: undefined },
  { id: 'gap', title: 'Leader killed: writes accepted again, median', unit: 'ms', target: { limit: 200 } },
];

type Stage = {
  readonly name: string;
  readonly nodes: number;
  run(cluster: Cluster, size: Size, wrk: string): Promise<Figure[]>;
};

export const STAGES: readonly Stage[] = [
  { name: 'put and range', nodes: 1, run: putAndRange },
  { name: 'gRPC', nodes: 1, run: grpc },
  { name: 'watch', nodes: 1, run: watch },
  { name: 'many keys', nodes: 1, run: manyKeys },
  { name: 'three nodes', nodes: 3, run: threeNodes },
];

function wrkOptions(node: Node, size: Size, wrk: string): Omit<WrkOptions, 'script' | 'args' | 'seconds'> {
  return { wrk, url: node.url, connections: size.connections, threads: size.threads };
}

async function putAndRange(cluster: Cluster, size: Size, wrk: string): Promise<Figure[]> {
  const node = cluster.nodes[0] as Node;
  const common = wrkOptions(node, size, wrk);
  await bulkLoad(node.url, size.keys, VALUE_BYTES);
  const puts = { ...common, script: 'put' as const, args: [size.keys, VALUE_BYTES] };
  await load({ ...puts, seconds: size.warmUpSeconds });
  const put = await load({ ...puts, seconds: size.seconds });
  const linearizable = { ...common, script: 'range' as const, args: [size.keys, 'linearizable'] };
  await load({ ...linearizable, seconds: size.warmUpSeconds });
  const range = await load({ ...linearizable, seconds: size.seconds });
  const serializable = { ...common, script: 'range' as const, args: [size.keys, 'serializable'] };
  const local = await load({ ...serializable, seconds: size.seconds });
  return [
    { id: 'put1', value: put.perSecond },
    { id: 'put1.p99', value: put.p99Ms },
    { id: 'range1', value: range.perSecond },
    { id: 'range1.p99', value: range.p99Ms },
    { id: 'serializable1', value: local.perSecond },
  ];
}

/** A key over and over, by as many calls at a time as the JSON load has connections, 16 on each connection. */
async function grpc(cluster: Cluster, size: Size): Promise<Figure[]> {
  const h2load = debianProgram('h2load', 'nghttp2-client');
  if (h2load === undefined) throw new Error('h2load is not installed');
  const { url } = cluster.nodes[0] as Node;
  const key = Buffer.from('grpc');
  const common = { h2load, url, connections: Math.ceil(size.connections / 16), streams: 16 };
  const put = {
    ...common,
    path: '/etcdserverpb.KV/Put',
    schema: PutRequestSchema,
    request: { key, value: Buffer.alloc(VALUE_BYTES) },
  };
  const range = { ...common, path: '/etcdserverpb.KV/Range', schema: RangeRequestSchema, request: { key } };
  await grpcLoad({ ...put, seconds: size.warmUpSeconds });
  const puts = await grpcLoad({ ...put, seconds: size.seconds });
  await grpcLoad({ ...range, seconds: size.warmUpSeconds });
  const ranges = await grpcLoad({ ...range, seconds: size.seconds });
  return [
    { id: 'grpc.put', value: puts },
    { id: 'grpc.range', value: ranges },
  ];
}

async function watch(cluster: Cluster, size: Size): Promise<Figure[]> {
  const node = cluster.nodes[0] as Node;
  const kinds: WatchKind[] = cluster.program.hasV1 ? ['http', 'socket', 'v1'] : ['http', 'socket'];
  const figures: Figure[] = [];
  for (const kind of kinds) {
    const options = { kind, watches: size.watches, valueBytes: VALUE_BYTES };
    let result = await fanOut(node, { ...options, events: size.events });
    const events = Math.round((result.perSecond * FAN_OUT_SECONDS) / size.watches);
    if (size === FULL && events > size.events) result = await fanOut(node, { ...options, events });
    figures.push(
      { id: kind, value: result.perSecond },
      { id: `${kind}.cpu`, value: result.cpuSecondsPerMillion },
    );
  }
  return figures;
}

async function manyKeys(cluster: Cluster, size: Size): Promise<Figure[]> {
  const node = cluster.nodes[0] as Node;
  const bulk = await bulkLoad(node.url, size.manyKeys, VALUE_BYTES);
  const memory = residentBytes(node.pid);
  await node.stop('SIGTERM');
  const start = performance.now();
  node.start();
  await serving(node);
  const restart = (performance.now() - start) / 1000;
  const restarted = residentBytes(node.pid);
  const { count } = (await post(node.url, '/v3/kv/range', ALL_KEYS, COUNT_TIMEOUT_MS)) as { count?: string };
  if (Number(count) !== size.manyKeys)
    throw new Error(`${count} keys after the restart, ${size.manyKeys} were put`);
  return [
    { id: 'bulk', value: bulk },
    { id: 'memory', value: memory.all / 1e6, note: `${size.manyKeys} keys` },
    { id: 'memory.anonymous', value: memory.anonymous / 1e6 },
    { id: 'memory.restarted', value: restarted.all / 1e6 },
    { id: 'restart', value: restart, note: `${size.manyKeys} keys` },
  ];
}

/** The load goes to the leader. */
async function threeNodes(cluster: Cluster, size: Size, wrk: string): Promise<Figure[]> {
  const leader = await leaderOf(cluster);
  const puts = { ...wrkOptions(leader, size, wrk), script: 'put' as const, args: [size.keys, VALUE_BYTES] };
  await load({ ...puts, seconds: size.warmUpSeconds });
  const put = await load({ ...puts, seconds: size.seconds });
  const gaps = await leaderGaps(cluster, size.leaderKills);
  const sorted = [...gaps].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = ((sorted[Math.floor(middle)] as number) + (sorted[Math.ceil(middle) - 1] as number)) / 2;
  return [
    { id: 'put3', value: put.perSecond },
    { id: 'put3.p99', value: put.p99Ms },
    { id: 'gap', value: median, note: `tries: ${gaps.map((gap) => gap.toFixed(0)).join(', ')}` },
  ];
}
