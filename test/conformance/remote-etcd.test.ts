/** The client of a remote cluster, on the real etcd. */
import { test } from 'node:test';
import { debianProgram } from '../support/debian.ts';
import { startEtcd } from '../support/etcd.ts';
import { ALL_CASES } from './cases/index.ts';
import { runConformance } from './suite.ts';
import { remoteTarget } from './targets/remote.ts';

const program = debianProgram('etcd', 'etcd-server');

if (program === undefined) {
  test('conformance of remote etcd 3.4', { skip: 'the etcd-server package of Debian is missing' }, () => {});
} else {
  const lacks = {
    'watch-negative-start-refused': '3.4 creates the watch, then cancels it with compact_revision -1',
    'tombstone-kept-at-compaction': '3.4 up to 3.4.33 removes a delete at the compact revision at once',
    'hashkv-at-compaction': '3.4 refuses HashKV at the compact revision',
    'alarm-header': '3.4 leaves the header of alarm answers out',
    'alarm-none-ignored': '3.4 stores an alarm of no kind',
  };
  const start = async () => {
    const { url, stop } = await startEtcd(program);
    return { endpoints: [url], stop };
  };
  runConformance(remoteTarget('remote etcd 3.4', lacks, start), ALL_CASES);
}
