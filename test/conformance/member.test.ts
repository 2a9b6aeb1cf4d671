import { SimCluster } from '../../packages/member/test/sim-cluster.ts';
import { ALL_CASES } from './cases/index.ts';
import { runConformance } from './suite.ts';

/** A whole member on simulated disk, network and time. Time passes a millisecond a turn while a case waits. */
runConformance(
  {
    name: 'a member on simulated ports',
    lacks: {},
    start: async () => {
      const cluster = new SimCluster(1, 'conformance');
      const { api } = await cluster.elect();
      let running = true;
      const turn = () => {
        if (!running) return;
        cluster.clock.advance(1);
        setImmediate(turn);
      };
      turn();
      return {
        api,
        passTime: async (ms) => {
          await cluster.run(ms);
        },
        stop: async () => {
          running = false;
        },
      };
    },
  },
  ALL_CASES,
);
