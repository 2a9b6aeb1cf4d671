import { type Cluster, leaderOf, type Node, post, serving } from './servers.ts';

const TRY_EVERY_MS = 10;
const TRY_TIMEOUT_MS = 5000;
const GIVE_UP_MS = 30_000;

/**
 * Kills the leader `tries` times and measures how long no write succeeds: from the kill to the first answer to a put
 * that was sent after it. Puts go to the survivors every 10 ms. In milliseconds.
 */
export async function leaderGaps(cluster: Cluster, tries: number): Promise<number[]> {
  const gaps: number[] = [];
  for (let n = 0; n < tries; n++) {
    const leader = await leaderOf(cluster);
    await Promise.all(cluster.nodes.map((node) => writes(node)));
    const survivors = cluster.nodes.filter((node) => node !== leader);
    const gone = leader.stop('SIGKILL');
    const start = performance.now();
    await firstWrite(survivors);
    gaps.push(performance.now() - start);
    await gone;
    leader.start();
    await serving(leader);
  }
  return gaps;
}

async function writes(node: Node): Promise<void> {
  await post(node.url, '/v3/kv/put', { key: 'Z2Fw', value: 'eA==' }, TRY_TIMEOUT_MS);
}

function firstWrite(nodes: readonly Node[]): Promise<void> {
  return new Promise((resolve, reject) => {
    let turn = 0;
    const timer = setInterval(() => {
      const node = nodes[turn++ % nodes.length] as Node;
      writes(node).then(
        () => {
          clearInterval(timer);
          clearTimeout(deadline);
          resolve();
        },
        () => {},
      );
    }, TRY_EVERY_MS);
    const deadline = setTimeout(() => {
      clearInterval(timer);
      reject(new Error(`no write succeeded within ${GIVE_UP_MS} ms after the leader was killed`));
    }, GIVE_UP_MS);
  });
}
