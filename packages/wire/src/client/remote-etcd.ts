import { type Clock, Prng, type Timer } from '@muster/base';
import type { ConcurrencyApi, EtcdApi } from '@muster/kv';
import { Balancer } from './balancer.ts';
import { Caller } from './caller.ts';
import { Certificates } from './certificates.ts';
import { type ChannelSettings, EndpointChannel } from './channel.ts';
import { parseEndpoint } from './endpoint.ts';
import { KeepAlives } from './keep-alives.ts';
import { CLIENT_LIMITS } from './limits.ts';
import { NodeClock } from './node-clock.ts';
import type { ClientTls, ConnectOptions } from './options.ts';
import { RemoteApi } from './remote-api.ts';
import { RemoteConcurrency } from './remote-concurrency.ts';
import { Tokens } from './tokens.ts';
import { WatchClient } from './watch-client.ts';

/** A remote cluster behind the seam. */
export type RemoteEtcd = {
  readonly api: EtcdApi;
  readonly concurrency: ConcurrencyApi;
  /** What is dialed now, as given or as `sync` found it. */
  readonly endpoints: readonly string[];
  /** Whether a connection to any of them is open. */
  readonly connected: boolean;
  /** One member alone: for status, hashKv, defragment, snapshot and alarms. Lives until `close`. */
  direct(endpoint: string): EtcdApi;
  /** Takes the endpoints from the cluster's member list: the client URLs of started voters. */
  sync(): Promise<readonly string[]>;
  /**
   * New connections are made with these authorities, certificate and key; open ones stay as they are. Throws when they
   * do not fit together, and goes on with the former ones.
   */
  renewTls(tls: Pick<ClientTls, 'ca' | 'cert' | 'key'>): void;
  /** Ends calls and watches with `context canceled`. Idempotent. */
  close(): void;
};

type Access = {
  readonly balancer: Balancer;
  readonly api: EtcdApi;
  readonly concurrency: ConcurrencyApi;
  close(): void;
};

/**
 * A client of any etcd v3 cluster over gRPC. Connects in the background: the first calls wait for it. Throws a
 * `TypeError` for endpoints that cannot be read, and OpenSSL's error for certificates that do not fit.
 */
export function connectEtcd(options: ConnectOptions): RemoteEtcd {
  return new Connection(options);
}

class Connection implements RemoteEtcd {
  readonly #options: ConnectOptions;
  readonly #clock: Clock;
  readonly #prng: Prng;
  readonly #settings: ChannelSettings;
  readonly #certificates: Certificates;
  readonly #channels = new Map<string, EndpointChannel>();
  readonly #main: Access;
  readonly #direct = new Map<string, Access>();
  #syncTimer: Timer | undefined;
  #closed = false;

  constructor(options: ConnectOptions) {
    this.#options = options;
    this.#clock = options.clock ?? new NodeClock();
    this.#prng = options.prng ?? new Prng(crypto.randomUUID());
    this.#certificates = new Certificates(options.tls ?? {});
    this.#settings = {
      clock: this.#clock,
      certificates: this.#certificates,
      serverName: options.tls?.serverName,
      keepaliveTimeMs: options.keepaliveTimeMs ?? CLIENT_LIMITS.keepaliveTimeMs,
      keepaliveTimeoutMs: options.keepaliveTimeoutMs ?? CLIENT_LIMITS.keepaliveTimeoutMs,
    };
    if (options.endpoints.length === 0) throw new TypeError('endpoints: expected at least one');
    this.#main = this.#access();
    this.#use(options.endpoints);
    this.#syncLater();
  }

  get api(): EtcdApi {
    return this.#main.api;
  }

  get concurrency(): ConcurrencyApi {
    return this.#main.concurrency;
  }

  get endpoints(): readonly string[] {
    return this.#main.balancer.channels.map(({ endpoint }) => endpoint.url);
  }

  get connected(): boolean {
    return this.#main.balancer.channels.some(({ ready }) => ready);
  }

  direct(endpoint: string): EtcdApi {
    let access = this.#direct.get(endpoint);
    if (!access) {
      access = this.#access();
      access.balancer.use([this.#channel(endpoint)]);
      this.#direct.set(endpoint, access);
    }
    return access.api;
  }

  async sync(): Promise<readonly string[]> {
    const { members } = await this.api.memberList({ linearizable: true }, { internal: true });
    const urls = members.filter((m) => m.name !== '' && !m.isLearner).flatMap((m) => m.clientUrls);
    if (urls.length > 0 && !this.#closed) this.#use([...new Set(urls)]);
    return this.endpoints;
  }

  renewTls(tls: Pick<ClientTls, 'ca' | 'cert' | 'key'>): void {
    this.#certificates.renew({ ...this.#options.tls, ...tls });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#syncTimer) this.#clock.cancel(this.#syncTimer);
    for (const access of [this.#main, ...this.#direct.values()]) access.close();
    for (const channel of this.#channels.values()) channel.close();
  }

  #access(): Access {
    const { credentials, log, balance, dialTimeoutMs = CLIENT_LIMITS.dialTimeoutMs } = this.#options;
    const balancer = new Balancer(this.#clock, dialTimeoutMs, balance === 'sticky');
    const caller = new Caller(
      balancer,
      new Tokens(balancer, credentials, this.#clock),
      this.#clock,
      this.#prng,
    );
    const watches = new WatchClient(caller, log);
    const keepAlives = new KeepAlives(caller);
    return {
      balancer,
      api: new RemoteApi(caller, watches, keepAlives),
      concurrency: new RemoteConcurrency(caller),
      close() {
        watches.close();
        keepAlives.close();
        balancer.close();
      },
    };
  }

  /** Replaces the endpoints; connections to those that stay are kept. */
  #use(urls: readonly string[]): void {
    const channels = urls.map((url) => this.#channel(url));
    this.#main.balancer.use(channels, this.#prng.int(0, channels.length - 1));
    for (const [url, channel] of this.#channels) {
      if (urls.includes(url) || this.#direct.has(url)) continue;
      this.#channels.delete(url);
      channel.close();
    }
  }

  #channel(url: string): EndpointChannel {
    let channel = this.#channels.get(url);
    if (!channel) {
      channel = new EndpointChannel(parseEndpoint(url), this.#settings, () => this.#changed());
      this.#channels.set(url, channel);
    }
    return channel;
  }

  #changed(): void {
    this.#main.balancer.wake();
    for (const { balancer } of this.#direct.values()) balancer.wake();
  }

  #syncLater(): void {
    const { autoSyncMs = 0, log } = this.#options;
    if (autoSyncMs <= 0 || this.#closed) return;
    this.#syncTimer = this.#clock.schedule(autoSyncMs, () => {
      this.sync()
        .catch((error: Error) => log?.warn({ error: error.message }, 'the member list could not be read'))
        .finally(() => this.#syncLater());
    });
  }
}
