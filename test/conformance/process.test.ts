import { startMuster } from '../support/muster.ts';
import { ALL_CASES } from './cases/index.ts';
import { runConformance, type Target } from './suite.ts';
import { JsonApi } from './targets/json-api.ts';

const LACKS: Target['lacks'] = {
  'watch-back-pressure': 'the server and the sockets between buffer: when the sink is full is not seen there',
};

/** One real server process with data on disk, through its JSON gateway. */
function server(watchOver: 'http' | 'websocket', more: Partial<Target>): Target {
  return {
    name: `a server process, watches over ${watchOver}`,
    lacks: LACKS,
    start: async () => {
      const cluster = await startMuster(1);
      const api = new JsonApi({ url: cluster.endpoints[0] as string, watchOver });
      return {
        api,
        passTime: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
        stop: async () => {
          await api.close();
          await cluster.close();
        },
      };
    },
    ...more,
  };
}

const noProgress =
  'this client sends its whole request first, as etcd needs it, so nothing can be asked later';
runConformance(server('websocket', {}), ALL_CASES);
runConformance(
  server('http', { areas: ['watch'], lacks: { ...LACKS, 'progress-request': noProgress } }),
  ALL_CASES,
);
