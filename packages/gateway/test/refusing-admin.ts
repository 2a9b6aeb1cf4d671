import { KvError } from '@muster/contract';
import type { AdminApi, AuthApi } from '@muster/kv';

const refused = (..._: readonly unknown[]): Promise<never> => Promise.reject(new KvError('UNIMPLEMENTED'));

/** The calls that a store without a cluster and without users cannot answer. */
export class RefusingAdmin implements AuthApi, AdminApi {
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
  memberAdd = refused;
  memberRemove = refused;
  memberUpdate = refused;
  memberPromote = refused;
  defragment = refused;
  downgrade = refused;
  snapshot = (): never => {
    throw new KvError('UNIMPLEMENTED');
  };
}
