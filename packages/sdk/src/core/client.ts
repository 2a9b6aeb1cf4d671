import type { Clock, Prng } from '@muster/base';
import { Caller } from './caller.ts';
import { type ClusterView, LiveClusterView } from './cluster-view.ts';
import { Connection } from './connection.ts';
import { Endpoints } from './endpoints.ts';
import { closedError } from './errors.ts';
import { createKv, type Kv } from './kv.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { createLeases, type Leases } from './leases.ts';
import { type Auth, Login } from './login.ts';
import { createServices, type Services, type ShutdownHook } from './services.ts';
import { type ConnectionStatus, type Logger, type Off, SILENT_LOGGER } from './status.ts';
import type { Transport } from './transport.ts';
import { KvWatch, type Watch, type WatchOptions, type WatchSelector } from './watcher.ts';

export type ConnectOptions = {
  /** The members, such as `http://10.0.0.1:2379` or `10.0.0.1:2379`. One is enough to work, all of them to survive. */
  readonly endpoints: readonly string[];
  /** Of services. Default `default`. */
  readonly namespace?: string;
  /** Needed where the server has authentication on. Default: nobody. */
  readonly auth?: Auth;
  readonly logger?: Logger;
  /** Shown by the server next to this client's socket. */
  readonly clientName?: string;
};

/** A connection to a Muster cluster. Nothing is dialled before it is needed. */
export interface Client extends AsyncDisposable {
  readonly kv: Kv;
  readonly leases: Leases;
  readonly services: Services;
  /** Changes of keys. */
  watch<T = string>(selector: WatchSelector, options?: WatchOptions<T>): Watch<T>;
  /** Members and leader, kept up to date. */
  cluster(): ClusterView;
  status(): ConnectionStatus;
  on(event: 'status', listener: (status: ConnectionStatus) => void): Off;
  /** Deregisters what is registered, ends everything else. */
  close(): Promise<void>;
}

/** What a client needs of the machine it runs on. */
type Platform = {
  readonly clock: Clock;
  readonly prng: Prng;
  /** Unpredictable, positive, below 2^63, never 0. */
  readonly randomId: () => bigint;
  readonly transport: Transport;
  /** Default: at random, so that clients spread over the members. */
  readonly endpointsInOrder?: boolean;
  readonly onShutdown?: ShutdownHook;
  /** Told the connection, to pause and wake it with the page; returns how to stop that. */
  readonly supervise?: (connection: Connection) => Off;
};

export function createClient(options: ConnectOptions, platform: Platform): Client {
  const { clock, prng, transport, randomId } = platform;
  const logger = options.logger ?? SILENT_LOGGER;
  const { namespace } = options;
  const headers: Record<string, string> = namespace === undefined ? {} : { 'x-namespace': namespace };
  const endpoints = new Endpoints(options.endpoints, clock, prng, platform.endpointsInOrder);
  const callerOptions = { endpoints, transport, clock, prng, headers };
  const loginCaller = new Caller(callerOptions);
  const login = options.auth && new Login(options.auth, loginCaller);
  const caller = new Caller({ ...callerOptions, login });
  const clientName = options.clientName ?? 'muster-sdk';
  const connection = new Connection({ ...callerOptions, logger, clientName, login });
  const keeper = new LeaseKeeper({ caller, clock, prng, logger });
  const closers = new Set<() => Promise<void>>();
  const unsupervise = platform.supervise?.(connection);
  const { onShutdown } = platform;
  const shared = {
    caller,
    connection,
    keeper,
    clock,
    prng,
    logger,
    namespace,
    randomId,
    onShutdown,
    closers,
  };
  let closing: Promise<void> | undefined;
  const close = async () => {
    await Promise.all([...closers].map((end) => end()));
    unsupervise?.();
    keeper.close();
    connection.close();
    caller.close();
    loginCaller.close();
    await transport.close();
  };
  const open = () => {
    if (closing) throw closedError('the client');
  };
  const client: Client = {
    kv: createKv(caller),
    leases: createLeases({ caller, keeper, clock, randomId }),
    services: createServices(shared),
    watch: (selector, watchOptions = {}) => {
      open();
      return new KvWatch(selector, { ...watchOptions, connection, clock });
    },
    cluster: () => {
      open();
      return new LiveClusterView(connection, logger);
    },
    status: () => connection.status,
    on: (_event, listener) => connection.onStatus(listener),
    close: () => (closing ??= close()),
    [Symbol.asyncDispose]: () => client.close(),
  };
  return client;
}
