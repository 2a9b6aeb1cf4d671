import { test } from 'node:test';
import { debianProgram } from '../support/debian.ts';
import { startEtcd } from '../support/etcd.ts';
import { ALL_CASES } from './cases/index.ts';
import { runConformance, type Target } from './suite.ts';
import { JsonApi } from './targets/json-api.ts';

/** The oracle: what passes here is how etcd behaves. Reasons name what 3.4 does otherwise (Decision table). */
const program = debianProgram('etcd', 'etcd-server');

const LACKS: Target['lacks'] = {
  'watch-negative-start-refused': '3.4 creates the watch, then cancels it with compact_revision -1',
  'watch-back-pressure': 'the server and the sockets between buffer: when the sink is full is not seen there',
  'watch-future-progress': '3.4 tells progress below a future start',
  'tombstone-kept-at-compaction': '3.4 up to 3.4.33 removes a delete at the compact revision at once',
  hashkv: '3.4 has no /v3/maintenance/hashkv',
  'hashkv-at-compaction': '3.4 refuses HashKV at the compact revision',
  'alarm-header': '3.4 leaves the header of alarm answers out',
  'alarm-none-ignored': '3.4 stores an alarm of no kind',
};

function etcd(watchOver: 'http' | 'websocket', more: Partial<Target>): Target {
  return {
    name: `etcd 3.4, watches over ${watchOver}`,
    lacks: LACKS,
    start: async () => {
      const process = await startEtcd(program as string);
      const api = new JsonApi({ url: process.url, watchOver });
      return {
        api,
        passTime: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        stop: async () => {
          await api.close();
          await process.stop();
        },
      };
    },
    ...more,
  };
}

if (program === undefined) {
  test('conformance of etcd 3.4', { skip: 'the etcd-server package of Debian is missing' }, () => {});
} else {
  const noProgress =
    'etcd answers over HTTP/1.1 only after the request has ended, so nothing can be asked later';
  runConformance(etcd('websocket', {}), ALL_CASES);
  runConformance(
    etcd('http', { areas: ['watch'], lacks: { ...LACKS, 'progress-request': noProgress } }),
    ALL_CASES,
  );
}
