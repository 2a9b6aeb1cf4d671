/**
 * Child process of replace-crash.test.ts: replaces its data file by a defragmented one or by an image, and kills itself
 * before a given step of that. Tells on stdout what is durable, `e <tag>`, and which step it was killed before.
 */
import { called, type Fs } from '../fs.ts';
import { openEngine } from '../lmdb/engine.ts';
import { nodeFs } from '../node-fs.ts';
import { openSnapshotStore } from '../snapshot.ts';
import { unitOf } from './units.ts';

const [root, what, killBefore] = process.argv.slice(2) as [string, 'defragment' | 'install', string];
const engine = openEngine(`${root}/kv`, { flushDelayMs: 1 });

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function write(count: number): void {
  for (let tag = engine.flushedTag + 1, end = tag + count; tag < end; tag++) {
    for (const [table, key, value] of unitOf(tag)) engine.put(table, key, value);
    engine.commit(tag);
  }
}

const flush = () => called((done) => engine.flush(done));

/** Before the image. */
write(40);
await flush();
let steps = 0;
let armed = false;
const fs: Fs = new Proxy(nodeFs, {
  get(target, property) {
    const method = (target as unknown as Record<PropertyKey, unknown>)[property] as (...a: unknown[]) => void;
    return (...args: unknown[]) => {
      if (armed && ++steps === Number(killBefore)) {
        say(`k ${String(property)}`);
        // What was said must be out before the end.
        setImmediate(() => process.kill(process.pid, 'SIGKILL'));
        return;
      }
      method.apply(target, args);
    };
  },
});
const store = await openSnapshotStore(`${root}/snap`, engine, { fs });
const { name } = await new Promise<{ name: string }>((resolve, reject) =>
  store.create((error, image) => (error ? reject(error) : resolve(image))),
);
if (what === 'install') say(`e ${engine.flushedTag}`);
write(40);
await flush();
if (what === 'defragment') say(`e ${engine.flushedTag}`);
armed = true;
if (what === 'defragment') await store.defragment();
else await called((done) => store.install(name, done));
write(10);
await flush();
say(`e ${engine.flushedTag}`);
await engine.close();
