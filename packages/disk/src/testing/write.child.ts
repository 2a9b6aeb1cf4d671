/**
 * Child process of crash.test.ts: writes to a log and an engine until it is killed, and tells on stdout what is
 * acknowledged: `w <index>` for the log, `e <tag>` for the engine.
 */
import { openEngine } from '../lmdb/engine.ts';
import { openWal } from '../wal/open.ts';
import { unitOf } from './units.ts';

const root = process.argv[2] as string;
const { wal, contents } = await openWal(`${root}/wal`, { segmentBytes: 64 * 1024 });
const engine = openEngine(`${root}/kv`, { flushDelayMs: 2 });

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

let index = contents.entries.at(-1)?.index ?? contents.compactedIndex;
let outstanding = 0;
function appendMore(): void {
  while (outstanding < 8) {
    const at = ++index;
    outstanding++;
    const entry = {
      index: at,
      term: 1,
      type: 'normal' as const,
      data: new Uint8Array(at % 700).fill(at & 255),
    };
    wal.append({ hardState: { term: 1, vote: 1n, commit: at - 1 }, entries: [entry] }, true, (error) => {
      if (error) throw error;
      outstanding--;
      say(`w ${at}`);
      appendMore();
    });
  }
}

let tag = engine.flushedTag;
function commitMore(): void {
  for (let i = 0; i < 5 && engine.pendingBytes < 20_000; i++) {
    tag++;
    for (const [table, key, value] of unitOf(tag)) engine.put(table, key, value);
    engine.commit(tag);
  }
  // Half a unit is always open, so that a kill finds one.
  const [table, key, value] = unitOf(tag + 1)[0] as ReturnType<typeof unitOf>[0];
  engine.put(table, key, value);
  setImmediate(commitMore);
}
setInterval(() => {
  const { flushedTag } = engine;
  if (flushedTag > 0) say(`e ${flushedTag}`);
}, 5);

appendMore();
commitMore();
