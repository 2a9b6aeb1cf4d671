/** The client of a remote cluster, on a real member of Muster. */
import { startMuster } from '../support/muster.ts';
import { ALL_CASES } from './cases/index.ts';
import { runConformance } from './suite.ts';
import { remoteTarget } from './targets/remote.ts';

const start = async () => {
  const { endpoints, close } = await startMuster(1);
  return { endpoints, stop: close };
};
runConformance(remoteTarget('remote Muster', {}, start), ALL_CASES);
