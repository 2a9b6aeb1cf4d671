/**
 * A small service as one would write it: it answers over HTTP, registers itself, knows its peers, and goes in order
 * when it is told to. What it does is said in JSON lines on standard output.
 */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { type Client, connect, type Duration, type Registration, type ServiceView } from '@muster/sdk';

const { values: flags } = parseArgs({
  options: {
    name: { type: 'string' },
    id: { type: 'string' },
    port: { type: 'string', default: '0' },
    muster: { type: 'string', default: 'http://127.0.0.1:2379' },
    /** Another service whose instances it keeps in view. */
    peer: { type: 'string' },
    zone: { type: 'string' },
    ttl: { type: 'string', default: '5s' },
    /** How long it stays, marked draining, when it is told to stop. */
    linger: { type: 'string', default: '0s' },
  },
});

function say(message: string, fields: Readonly<Record<string, unknown>> = {}): void {
  console.log(
    JSON.stringify({ time: new Date().toISOString(), service: flags.name, msg: message, ...fields }),
  );
}

function fail(message: string): never {
  say(message, { level: 'error' });
  process.exit(1);
}

async function main(): Promise<void> {
  const name = flags.name ?? fail('--name: expected the name of the service, such as orders');
  const port = Number(flags.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    fail(`--port: expected 0 to 65535, got ${flags.port}`);
  const muster = connect({
    endpoints: flags.muster.split(','),
    clientName: `sample-${name}`,
    logger: { info: say, warn: (message, fields) => say(message, { level: 'warn', ...fields }) },
  });
  const server = createServer();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const registration = await register(muster, name, server);
  const peers = flags.peer === undefined ? undefined : await follow(muster, flags.peer);
  server.on('request', (_request, response) => answer(response, registration, peers));
  say('serving', { instance: registration.id, port: (server.address() as AddressInfo).port });
}

function register(muster: Client, name: string, server: Server): Promise<Registration> {
  const { port } = server.address() as AddressInfo;
  return muster.services.register({
    name,
    ...(flags.id !== undefined && { id: flags.id }),
    ...(flags.zone !== undefined && { zone: flags.zone }),
    url: `http://127.0.0.1:${port}/`,
    address: '127.0.0.1',
    port,
    version: '1.0.0',
    metadata: { pid: String(process.pid), startedAt: new Date().toISOString() },
    ttl: flags.ttl as Duration,
    health: () => (server.listening ? 'passing' : 'critical'),
    shutdown: {
      linger: flags.linger as Duration,
      stop: () => new Promise((resolve) => server.close(() => resolve())),
    },
  });
}

async function follow(muster: Client, peer: string): Promise<ServiceView> {
  const view = await muster.services.discover(peer);
  const tell = () => say(`${peer} in view`, { instances: view.instances.map((instance) => instance.url) });
  view.on('change', tell);
  tell();
  return view;
}

function answer(response: ServerResponse, registration: Registration, peers: ServiceView | undefined): void {
  const body = {
    service: registration.name,
    instance: registration.id,
    state: registration.state,
    pid: process.pid,
    uptimeSeconds: Math.round(process.uptime()),
    ...(peers && {
      peers: peers.instances.map(({ service, id, url, status }) => ({ service, id, url, status })),
      peersStale: peers.stale !== false,
    }),
  };
  response.writeHead(200, { 'content-type': 'application/json', connection: 'close' });
  response.end(`${JSON.stringify(body)}\n`);
}

await main();
