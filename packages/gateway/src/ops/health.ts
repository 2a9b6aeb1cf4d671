/** etcd's health endpoints: `/health`, `/livez` and `/readyz`. */
import { KvError } from '@muster/contract';
import type { CallOptions, EtcdApi } from '@muster/kv';

/** `reason` is empty when the member is healthy. */
export type Health = { readonly ok: boolean; readonly reason: string };

type HealthQuery = {
  /** Alarms that do not count, such as `NOSPACE`. */
  readonly exclude: readonly string[];
  /** True: no leader is needed. */
  readonly serializable: boolean;
};

/** Reads of a key that need not be there. */
const PROBE = { key: new TextEncoder().encode('health'), keysOnly: true, limit: 1 } as const;

/** `/health`: alarms first, then the leader, then a read. */
export async function checkHealth(api: EtcdApi, query: HealthQuery, options: CallOptions): Promise<Health> {
  try {
    const { alarms } = await api.alarm({ action: 'get', memberId: 0n, alarm: 'none' }, options);
    const excluded = new Set(query.exclude);
    const raised = alarms.map(({ alarm }) => alarm.toUpperCase()).filter((name) => !excluded.has(name));
    for (const name of ['NOSPACE', 'CORRUPT']) {
      if (raised.includes(name)) return unhealthy(`ALARM ${name}`);
    }
    if (!query.serializable && (await api.status(options)).leader === 0n) return unhealthy('RAFT NO LEADER');
    await api.range({ ...PROBE, serializable: query.serializable }, options);
    return { ok: true, reason: '' };
  } catch (thrown) {
    return unhealthy(`RANGE ERROR:${KvError.from(thrown).message}`);
  }
}

const unhealthy = (reason: string): Health => ({ ok: false, reason });

/** Resolves when the check passes, throws what is wrong when it does not. */
export type Check = (api: EtcdApi, options: CallOptions) => Promise<void>;

const serializableRead: Check = async (api, options) => {
  await api.range({ ...PROBE, serializable: true }, options);
};

const linearizableRead: Check = async (api, options) => {
  await api.range(PROBE, options);
};

const dataCorruption: Check = async (api, options) => {
  const { alarms } = await api.alarm({ action: 'get', memberId: 0n, alarm: 'corrupt' }, options);
  if (alarms.length > 0) throw new Error('alarm activated: CORRUPT');
};

const nonLearner: Check = async (api, options) => {
  if ((await api.status(options)).isLearner) throw new Error('not supported for learner');
};

export const LIVEZ_CHECKS: ReadonlyMap<string, Check> = new Map([['serializable_read', serializableRead]]);
export const READYZ_CHECKS: ReadonlyMap<string, Check> = new Map([
  ['data_corruption', dataCorruption],
  ['serializable_read', serializableRead],
  ['linearizable_read', linearizableRead],
  ['non_learner', nonLearner],
]);

type ChecksQuery = { readonly verbose: boolean; readonly exclude: readonly string[] };

/** Runs checks side by side. `text` is the body of the answer, one line a check where they are shown. */
export async function runChecks(
  name: string,
  checks: ReadonlyMap<string, Check>,
  api: EtcdApi,
  query: ChecksQuery,
  options: CallOptions,
): Promise<{ readonly ok: boolean; readonly text: string }> {
  let ok = true;
  const lines = await Promise.all(
    [...checks].map(async ([check, run]) => {
      if (query.exclude.includes(check)) return `[+]${check} excluded: ok\n`;
      try {
        await run(api, options);
        return `[+]${check} ok\n`;
      } catch (thrown) {
        ok = false;
        return `[-]${check} failed: ${(thrown as Error).message}\n`;
      }
    }),
  );
  if (!ok) return { ok, text: `${lines.join('')}${name} check failed\n` };
  return { ok, text: query.verbose ? `${lines.join('')}${name} check passed\n` : 'ok\n' };
}
