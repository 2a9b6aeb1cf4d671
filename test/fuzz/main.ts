/**
 * `pnpm fuzz [--minutes N] [--target name] [--seed text]`: the decoders of a real member, by inputs that are almost
 * right. A failing seed is printed and belongs into seeds.txt, from where every test run replays it.
 */
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { startMuster } from '../support/muster.ts';
import { fuzz, TARGETS } from './runner.ts';
import { Tally } from './target.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    target: { type: 'string' },
    seed: { type: 'string', default: randomBytes(4).toString('hex') },
  },
});
const names = values.target === undefined ? Object.keys(TARGETS) : values.target.split(',');
const unknown = names.find((name) => !(name in TARGETS));
if (unknown !== undefined)
  throw new Error(`no target ${unknown}; expected ${Object.keys(TARGETS).join(', ')}`);
const shareMs = (Number(values.minutes) * 60_000) / names.length;

for (const name of names) {
  const cluster = await startMuster(1, { flags: ['--body-timeout=5s'] });
  const [member] = cluster.members;
  if (!member) throw new Error('no member');
  const started = performance.now();
  const { cases, memory, curve, slowestMs, tally, finding } = await fuzz(member, name, values.seed, shareMs);
  const { early, peak } = memory;
  const seconds = Math.round((performance.now() - started) / 1000);
  console.log(`${name}: ${cases} cases in ${seconds} s, seed ${values.seed}, RSS ${early} -> ${peak} MiB`);
  console.log(`  slowest write and read beside it: ${slowestMs} ms`);
  const samples = curve.map((at) => `${at.seconds} s ${at.mib} ${at.anonymousMib} ${at.files}`);
  console.log(`  MiB, MiB without the store's pages, files: ${samples.join('; ')}`);
  console.log(`  ${tally}`);
  console.log(`  logged: ${warnings(member.log())}`);
  if (finding !== undefined) {
    console.log(`FOUND ${finding.target} ${finding.seed}: ${finding.error.message}`);
    process.exitCode = 1;
  }
  await cluster.close();
}

/** What the member logged above information, counted by its words. */
function warnings(log: string): string {
  const tally = new Tally();
  for (const line of log.split('\n')) {
    if (!line.startsWith('{')) continue;
    const { level, msg } = JSON.parse(line) as { level: string; msg: string };
    if (level !== 'info' && level !== 'debug') tally.add(`${level} ${msg}`);
  }
  return String(tally);
}
