/** Child process with the watches of one measurement: `watchers.child.ts KIND HOST WATCHES EVENTS`. */
import { Watchers, type WatchKind } from './watchers.ts';

const [kind, host, count, events] = process.argv.slice(2) as [WatchKind, string, string, string];
const watchers = new Watchers();
await watchers.open(kind, host, Number(count));
const all = watchers.total(Number(count) * Number(events));
process.send?.('ready');
await all;
process.send?.('done');
watchers.close();
process.disconnect?.();
