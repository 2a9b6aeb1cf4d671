/** The cluster behind the gateway: how it is reached, and what it is. */
import { readFileSync } from 'node:fs';
import type { Clock, Timer } from '@muster/base';
import type { VersionInfo } from '@muster/gateway';
import { type ClientTls, type ConnectOptions, connectEtcd, type RemoteEtcd } from '@muster/wire';
import { type FlagValues, StartRefused } from './flags.ts';
import type { Logger } from './logger.ts';

/** How often the cluster is asked for its version, and whether it is there. */
const LOOK_MS = 5_000;
const LOOK_TIMEOUT_MS = 3_000;
/** Until the cluster has said so itself. */
const UNKNOWN = '0.0.0';

export class Upstream {
  readonly remote: RemoteEtcd;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #values: FlagValues;
  #pems: Pems;
  #brokenPems = '';
  #version: VersionInfo = { server: UNKNOWN, cluster: 'not_decided', storage: UNKNOWN };
  #reachable: boolean | undefined;
  #timer: Timer | undefined;
  #closed = false;

  /** Throws `StartRefused` for flags that fit nothing. */
  constructor(values: FlagValues, clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
    this.#values = values;
    this.#pems = pemsOf(values);
    const options = { ...connectOptions(values, this.#pems), clock, log };
    try {
      this.remote = connectEtcd(options);
    } catch (error) {
      throw new StartRefused((error as Error).message, error instanceof TypeError ? 2 : 1);
    }
  }

  /** What the cluster said last. */
  get version(): VersionInfo {
    return this.#version;
  }

  /** Whether the last look found it. */
  get reachable(): boolean {
    return this.#reachable === true;
  }

  /** Looks now, and again and again; resolves after the first look, whatever it found. */
  async start(): Promise<void> {
    await this.#look();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer) this.#clock.cancel(this.#timer);
    this.remote.close();
  }

  async #look(): Promise<void> {
    this.#renewTls();
    try {
      const { version, storageVersion } = await this.remote.api.status({ timeoutMs: LOOK_TIMEOUT_MS });
      const cluster = version.replace(/^(\d+\.\d+)\..*$/, '$1.0');
      this.#version = { server: version, cluster, storage: storageVersion ?? cluster };
      if (!this.#reachable) this.#log.info({ version }, 'the cluster is reached');
      this.#reachable = true;
    } catch (error) {
      if (this.#closed) return;
      if (this.#reachable !== false)
        this.#log.warn({ error: (error as Error).message }, 'the cluster is not reached');
      this.#reachable = false;
    }
    if (this.#closed) return;
    this.#timer = this.#clock.schedule(LOOK_MS, () => void this.#look());
  }

  /** Certificates that were renewed are used for new connections; what cannot be used is said once. */
  #renewTls(): void {
    try {
      const pems = pemsOf(this.#values);
      if (printOf(pems) === printOf(this.#pems)) return;
      this.remote.renewTls(pems);
      this.#pems = pems;
      this.#brokenPems = '';
      this.#log.info({}, 'renewed certificates are in use');
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#brokenPems)
        this.#log.warn({ error: message }, 'renewed certificates cannot be used');
      this.#brokenPems = message;
    }
  }
}

type Pems = Pick<ClientTls, 'ca' | 'cert' | 'key'>;

const printOf = (pems: Pems): string => [pems.ca, pems.cert, pems.key].map(String).join();

function pemsOf({ cacert, cert, key }: FlagValues): Pems {
  return {
    ...(cacert === '' ? {} : { ca: pem(cacert) }),
    ...(cert === '' ? {} : { cert: pem(cert) }),
    ...(key === '' ? {} : { key: pem(key) }),
  };
}

function connectOptions(values: FlagValues, pems: Pems): ConnectOptions {
  const tls = tlsOf(values, pems);
  const credentials = credentialsOf(values);
  return {
    endpoints: values.endpoints,
    balance: values.balance,
    dialTimeoutMs: values['dial-timeout'],
    keepaliveTimeMs: values['keepalive-time'],
    keepaliveTimeoutMs: values['keepalive-timeout'],
    autoSyncMs: values['auto-sync-interval'],
    tls,
    ...(credentials === undefined ? {} : { credentials }),
  };
}

function credentialsOf({ user, password }: FlagValues): ConnectOptions['credentials'] {
  if (user === '') {
    if (password !== '') throw new StartRefused('--password is of no use without --user', 2);
    return undefined;
  }
  const colon = user.indexOf(':');
  if (password === '' && colon >= 0) return { name: user.slice(0, colon), password: user.slice(colon + 1) };
  return { name: user, password };
}

function tlsOf(values: FlagValues, pems: Pems): ClientTls {
  if ((values.cert === '') !== (values.key === '')) {
    throw new StartRefused('--cert and --key are given together or not at all', 2);
  }
  const serverName = values['server-name'];
  return {
    ...pems,
    ...(serverName === '' ? {} : { serverName }),
    insecureSkipVerify: values['insecure-skip-tls-verify'],
  };
}

function pem(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new StartRefused(`${file}: ${(error as Error).message}`);
  }
}
