import { KvError } from '@muster/contract';
import type { AuthApi } from '@muster/kv';

const refused = (..._: readonly unknown[]): Promise<never> => Promise.reject(new KvError('UNIMPLEMENTED'));

/** The calls of `LocalApi` about users, roles and credentials. */
export class LocalAuth implements AuthApi {
  authEnable = refused;
  authDisable = refused;
  authStatus = refused;
  authenticate = refused;
  userAdd = refused;
  userGet = refused;
  userList = refused;
  userDelete = refused;
  userChangePassword = refused;
  userGrantRole = refused;
  userRevokeRole = refused;
  roleAdd = refused;
  roleGet = refused;
  roleList = refused;
  roleDelete = refused;
  roleGrantPermission = refused;
  roleRevokePermission = refused;
}
