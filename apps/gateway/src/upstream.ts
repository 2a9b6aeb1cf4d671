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
  #version: VersionInfo = { server: UNKNOWN, cluster: 'not_decided', storage: UNKNOWN };
  #reachable: boolean | undefined;
  #timer: Timer | undefined;
  #closed = false;

  /** Throws `StartRefused` for flags that fit nothing. */
  constructor(values: FlagValues, clock: Clock, log: Logger) {
    this.#clock = clock;
    this.#log = log;
    try {
      this.remote = connectEtcd({ ...connectOptions(values), clock, log });
    } catch (error) {
      if (error instanceof TypeError) throw new StartRefused(error.message, 2);
      throw error;
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
}

function connectOptions(values: FlagValues): ConnectOptions {
  const tls = tlsOf(values);
  const credentials = credentialsOf(values);
  return {
    endpoints: values.endpoints,
    balance: values.balance,
    dialTimeoutMs: values['dial-timeout'],
    keepaliveTimeMs: values['keepalive-time'],
    keepaliveTimeoutMs: values['keepalive-timeout'],
    autoSyncMs: values['auto-sync-interval'],
    ...(tls === undefined ? {} : { tls }),
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

function tlsOf(values: FlagValues): ClientTls | undefined {
  const { cacert, cert, key } = values;
  if ((cert === '') !== (key === ''))
    throw new StartRefused('--cert and --key are given together or not at all', 2);
  const serverName = values['server-name'];
  return {
    ...(cacert === '' ? {} : { ca: pem(cacert) }),
    ...(cert === '' ? {} : { cert: pem(cert), key: pem(key) }),
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
