/** Enums of the protocol, in the order of their numbers, by the seam's names. */
import { KvError } from '@muster/contract';
import type { AlarmRequest, AlarmType, PermissionType, SortOrder, SortTarget, WatchFilter } from '@muster/kv';

export const SORT_ORDERS: readonly SortOrder[] = ['none', 'ascend', 'descend'];
export const SORT_TARGETS: readonly SortTarget[] = ['key', 'version', 'create', 'mod', 'value'];
export const COMPARE_RESULTS = ['equal', 'greater', 'less', 'notEqual'] as const;
export const COMPARE_TARGETS = ['version', 'create', 'mod', 'value', 'lease'] as const;
export const WATCH_FILTERS: readonly WatchFilter[] = ['noput', 'nodelete'];
export const ALARM_TYPES: readonly AlarmType[] = ['none', 'nospace', 'corrupt'];
export const ALARM_ACTIONS: readonly AlarmRequest['action'][] = ['get', 'activate', 'deactivate'];
export const PERMISSION_TYPES: readonly PermissionType[] = ['read', 'write', 'readwrite'];
export const DOWNGRADE_ACTIONS = ['validate', 'enable', 'cancel'] as const;

/** The name of an enum's number. Throws `BAD_REQUEST` for one that the protocol does not have. */
export function nameOf<T>(names: readonly T[], number: number, what: string): T {
  const name = names[number];
  if (name === undefined)
    throw new KvError('BAD_REQUEST', { detail: `etcdserver: unknown ${what} ${number}` });
  return name;
}

/** The number of a name, or the number that was kept because it has none. */
export function numberOfName(names: readonly (string | number)[], name: string | number): number {
  return typeof name === 'number' ? name : names.indexOf(name);
}
