import { randomBytes } from 'node:crypto';
import { type ErrorCode, KvError } from '@muster/contract';
import type { EtcdClient } from '../client.ts';

const PASSWORD_BYTES = 24;
/** It may do everything as it is. */
const ROOT = 'root';

/**
 * Roles with what they may do, and users with their roles. No call tells passwords, so that users get random ones, which
 * can be replaced; one that were created without could never have any. What is there already stays as it is.
 */
export async function copyAuth(
  source: EtcdClient,
  target: EtcdClient,
  signal: AbortSignal,
): Promise<{ readonly roles: number; readonly users: readonly string[] }> {
  const from = source.options(signal);
  const to = target.options(signal);
  const { roles } = await source.api.roleList(from);
  for (const name of roles) {
    await unless('ROLE_EXISTS', target.api.roleAdd({ name }, to));
    if (name === ROOT) continue;
    const { permissions } = await source.api.roleGet({ role: name }, from);
    for (const permission of permissions) await target.api.roleGrantPermission({ name, permission }, to);
  }
  const { users } = await source.api.userList(from);
  const added: string[] = [];
  for (const name of users) {
    const password = randomBytes(PASSWORD_BYTES).toString('base64url');
    if (await unless('USER_EXISTS', target.api.userAdd({ name, password }, to))) added.push(name);
    for (const role of (await source.api.userGet({ name }, from)).roles)
      await target.api.userGrantRole({ user: name, role }, to);
  }
  return { roles: roles.length, users: added };
}

/** False where it failed with this code. */
async function unless(code: ErrorCode, call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (error instanceof KvError && error.code === code) return false;
    throw error;
  }
}
