import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { StartRefused } from './start-refused.ts';

/** Refuses a data directory in which an etcd has run: its files are not read, and must not be started beside. */
export function refuseEtcdData(dataDir: string): void {
  if (!['wal', 'snap'].some((name) => existsSync(join(dataDir, 'member', name)))) return;
  throw new StartRefused(
    `data directory ${dataDir} holds the data of an etcd (${join(dataDir, 'member')}), whose files Muster does not ` +
      'read. Take its data along with a snapshot ("etcdctl snapshot save" while etcd runs, then "musterctl snapshot ' +
      'restore --data-dir" into a new directory for every member) or with "musterctl import" from the running ' +
      'cluster; then start with another --data-dir',
  );
}
