import type { EtcdApi } from '@muster/kv';
import type { EtcdClient } from './client.ts';
import { Failure } from './failure.ts';
import { pause } from './pause.ts';

/** A lease that is kept alive while something is held under it. */
export type Session = {
  readonly lease: bigint;
  /** Aborts when the lease is gone or the command is stopped. */
  readonly ended: AbortSignal;
  /** True when the lease went although it was renewed. */
  readonly lost: boolean;
  close(): Promise<void>;
};

/** Three renewals fit into a TTL, as etcd's clients do it. */
const RENEWALS_PER_TTL = 3;

export async function openSession(
  client: EtcdClient,
  ttlSeconds: number,
  signal: AbortSignal,
): Promise<Session> {
  if (ttlSeconds <= 0) throw new Failure(`--ttl ${ttlSeconds}: expected at least one second`);
  const { api } = client;
  const granted = await api.leaseGrant({ id: 0n, ttlSeconds }, client.options(signal));
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  let lost = false;
  const renewing = renew(api, granted.id, granted.ttlSeconds, ended).then((gone) => {
    lost = gone;
    stop.abort();
  });
  return {
    lease: granted.id,
    ended,
    get lost() {
      return lost;
    },
    async close() {
      stop.abort();
      await renewing;
      // A lease that is gone already is as good.
      await api.leaseRevoke({ id: granted.id }, client.options()).catch(() => undefined);
    },
  };
}

/** True when the lease is gone; false when `ended` came first. */
async function renew(api: EtcdApi, id: bigint, ttlSeconds: number, ended: AbortSignal): Promise<boolean> {
  const everyMs = (ttlSeconds * 1000) / RENEWALS_PER_TTL;
  let validUntil = performance.now() + ttlSeconds * 1000;
  while (!ended.aborted) {
    await pause(everyMs, ended);
    if (ended.aborted) return false;
    try {
      const kept = await api.leaseKeepAlive({ id }, { signal: ended, timeoutMs: Math.max(1, everyMs) });
      if (kept.ttlSeconds <= 0) return true;
      validUntil = performance.now() + kept.ttlSeconds * 1000;
    } catch {
      // A lost connection is no lost lease: tried again until the TTL has passed.
      if (!ended.aborted && performance.now() >= validUntil) return true;
    }
  }
  return false;
}
