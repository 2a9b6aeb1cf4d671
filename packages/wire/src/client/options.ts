import type { Clock, Prng } from '@muster/base';

/** PEM texts. */
export type ClientTls = {
  /** Who is trusted as a server; the system's own authorities when absent. */
  readonly ca?: string | Uint8Array;
  /** Our own certificate, for servers that ask for one. Only together with `key`. */
  readonly cert?: string | Uint8Array;
  readonly key?: string | Uint8Array;
  /** Takes any certificate. For tests and for repair. */
  readonly insecureSkipVerify?: boolean;
  /** The name that the servers' certificates are checked against, instead of each endpoint's own. */
  readonly serverName?: string;
};

export type ClientCredentials = { readonly name: string; readonly password: string };

/** Where the client writes what it does: pino's shape, fields first. */
export type ClientLog = {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
};

export type ConnectOptions = {
  /** At least one; `http://`, `https://` or bare `host:port`. */
  readonly endpoints: readonly string[];
  /** Used for `https` endpoints. */
  readonly tls?: ClientTls;
  /** Whom calls are made as that bring no token of their own. */
  readonly credentials?: ClientCredentials;
  /**
   * `round-robin`, the default, spreads calls over all members, as etcd's own clients do. `sticky` stays with one while
   * it is well: what was written is then also seen by a watch that begins, and by reads that are not linearizable.
   */
  readonly balance?: 'round-robin' | 'sticky';
  /** How long a call without a nearer deadline waits for a connection. Default 5 s. */
  readonly dialTimeoutMs?: number;
  /** Ping after so much silence while calls are open, 0 never. Default 10 s; servers refuse less than 5 s. */
  readonly keepaliveTimeMs?: number;
  /** A ping without an answer for so long ends the connection. Default 6 s. */
  readonly keepaliveTimeoutMs?: number;
  /** How often the endpoints are read from the cluster's member list; 0, the default, never. */
  readonly autoSyncMs?: number;
  readonly clock?: Clock;
  readonly prng?: Prng;
  readonly log?: ClientLog;
};
