/** Child process of data-dir.test.ts: takes the lock and keeps it until it is killed. */
import { openDataDir } from '../data-dir.ts';

await openDataDir(process.argv[2] as string);
process.stdout.write('locked\n');
process.stdin.resume();
