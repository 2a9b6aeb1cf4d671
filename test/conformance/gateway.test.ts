/** The stand-alone gateway before three members of the real etcd, through its JSON. */
import { test } from 'node:test';
import { debianProgram } from '../support/debian.ts';
import { startEtcdCluster } from '../support/etcd-cluster.ts';
import { makeGateway } from '../support/gateway.ts';
import { freePorts } from '../support/ports.ts';
import { ALL_CASES } from './cases/index.ts';
import { runConformance, type Target } from './suite.ts';
import { JsonApi } from './targets/json-api.ts';

const program = debianProgram('etcd', 'etcd-server');

const LACKS: Target['lacks'] = {
  'one-member': 'there are three, and the one that is asked need not lead',
  'watch-back-pressure': 'the server and the sockets between buffer: when the sink is full is not seen there',
  'watch-negative-start-refused': '3.4 creates the watch, then cancels it with compact_revision -1',
  'tombstone-kept-at-compaction': '3.4 up to 3.4.33 removes a delete at the compact revision at once',
  'hashkv-at-compaction': '3.4 refuses HashKV at the compact revision',
  'alarm-header': '3.4 leaves the header of alarm answers out',
  'alarm-none-ignored': '3.4 stores an alarm of no kind',
};

function gateway(watchOver: 'http' | 'websocket', more: Partial<Target>): Target {
  return {
    name: `the gateway before three members of etcd 3.4, watches over ${watchOver}`,
    lacks: LACKS,
    start: async () => {
      const cluster = await startEtcdCluster(program as string, 3);
      const [port] = await freePorts(1);
      const process = makeGateway(port as number, cluster.endpoints);
      await process.start();
      const api = new JsonApi({ url: process.url, watchOver });
      return {
        api,
        passTime: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        stop: async () => {
          await api.close();
          await process.stop();
          await cluster.close();
        },
      };
    },
    ...more,
  };
}

if (program === undefined) {
  test('conformance of the gateway', { skip: 'the etcd-server package of Debian is missing' }, () => {});
} else {
  const noProgress =
    'this client sends its whole request first, as etcd needs it, so nothing can be asked later';
  runConformance(gateway('websocket', {}), ALL_CASES);
  runConformance(
    gateway('http', { areas: ['watch'], lacks: { ...LACKS, 'progress-request': noProgress } }),
    ALL_CASES,
  );
}
