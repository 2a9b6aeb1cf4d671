/** A peer in a process of its own, for tests that kill it. Arguments: id, port, then `id=url` of its peers. */
import { Station } from './test-support.ts';

const [id, port, ...peers] = process.argv.slice(2);
const station = await Station.open(BigInt(id ?? 1), { port: Number(port) });
station.transport.setPeers(
  new Map(
    peers.map((peer) => {
      const [peerId, url] = peer.split('=') as [string, string];
      return [BigInt(peerId), [url]];
    }),
  ),
);
process.send?.({ port: station.port });
