/** `npm start`: three members, the services that register with them, and what to try. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Listr } from 'listr2';
import { clientUrl, Demo } from './demo.ts';
import { type Plan, readPlan, USAGE } from './options.ts';
import { takenPorts } from './ports.ts';

const ROOT = join(import.meta.dirname, '../../..');
/** Ctrl-C reaches this process twice, from the terminal and from npm: within this time they are one. */
const SAME_SIGNAL_MS = 1_000;

/** When the first request to stop came. */
let stopping: number | undefined;

const plan = readPlan(process.argv.slice(2), process.env, ROOT);
if (plan === undefined) {
  console.log(USAGE);
} else if (typeof plan === 'string') {
  console.error(`${plan}\n\n${USAGE}`);
  process.exitCode = 2;
} else {
  await run(plan);
}

async function run(plan: Plan): Promise<void> {
  const taken = await takenPorts(plan.members.flatMap((member) => [member.clientPort, member.peerPort]));
  if (taken.length > 0) {
    console.error(`Cannot start: ${taken.join(', ')}.`);
    console.error(
      'Stop what uses it (is Muster or etcd running already?), or choose others: npm start -- --base-port 12379',
    );
    process.exitCode = 1;
    return;
  }
  const again = existsSync(join(plan.dataDir, 'm1'));
  const demo = new Demo({ plan, root: ROOT, say: (line) => console.log(`• ${line}`) });
  stopOnSignals(demo);
  try {
    await tasks(demo, plan, again).run();
  } catch {
    // The list has shown what failed.
    if (stopping) return;
    await demo.stop();
    process.exit(1);
  }
  if (!stopping) console.log(await banner(demo, plan));
}

function tasks(demo: Demo, plan: Plan, again: boolean): Listr {
  const names = plan.members.map((member) => member.name).join(', ');
  return new Listr([
    {
      title: `Members ${names}${again ? ', with the data of before' : ''}`,
      task: async (_context, task) => {
        let ready = 0;
        await demo.startMembers((name) => {
          task.output = `${name} is ready (${++ready} of ${plan.members.length})`;
        });
      },
    },
    {
      title: 'Sample services orders (two instances) and payments (one)',
      skip: () => plan.bare,
      task: async (_context, task) => {
        await demo.startServices((id) => {
          task.output = `${id} is registered`;
        });
      },
    },
  ]);
}

function stopOnSignals(demo: Demo): void {
  const onSignal = async () => {
    const now = Date.now();
    if (stopping !== undefined) {
      if (now - stopping < SAME_SIGNAL_MS) return;
      console.log('• ending everything at once');
      demo.kill();
      process.exit(130);
    }
    stopping = now;
    console.log('');
    await demo.stop();
    console.log('• everything has stopped; the data stays where it is');
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void onSignal());
}

async function banner(demo: Demo, plan: Plan): Promise<string> {
  const [first, second] = plan.members;
  const host = first ? clientUrl(first).replace('http://', '') : '';
  const other = second ? clientUrl(second).replace('http://', '') : '';
  const leader = await demo.leader();
  return `
Muster is up: ${plan.members.length} members${leader ? `, ${leader} leads` : ''}.

  Live page   http://${host}/ui/
  Data, logs  ${plan.dataDir}

Things to try in another terminal:

  curl ${host}/v1/services
  curl '${host}/v1/services/orders/instances'
  curl -X PUT ${host}/v1/kv/hello -d world
  curl ${other}/v1/kv/hello
  curl -N '${host}/v1/watch?prefix=hello'
  curl ${host}/v3/kv/range -d '{"key":"aGVsbG8="}'

Ctrl-C stops everything in order.`;
}
