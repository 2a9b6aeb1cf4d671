import { EtcdModel } from '../model/etcd-model.ts';
import { RealClock } from '../support/real-clock.ts';
import { ALL_CASES } from './cases/index.ts';
import { runConformance } from './suite.ts';

runConformance(
  {
    name: 'the model',
    lacks: {},
    start: async () => ({
      api: new EtcdModel(new RealClock()),
      passTime: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      stop: async () => {},
    }),
  },
  ALL_CASES,
);
