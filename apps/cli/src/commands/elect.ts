import { badArgs, Failure } from '../failure.ts';
import type { Call, Run } from '../line/command.ts';
import { aborted } from '../pause.ts';
import { getView } from '../print/kv-views.ts';
import { bytesOf } from '../range.ts';
import { openSession } from '../session.ts';
import type { ELECT_FLAGS } from '../tree/other.ts';

const ELECTION_TTL_SECONDS = 60;
const PLAIN = { valueOnly: false, countOnly: false };

export const elect: Run<typeof ELECT_FLAGS> = async (call) => {
  const [name, proposal] = call.args;
  if (name === undefined || call.args.length > 2) {
    throw badArgs('elect takes one election name argument and an optional proposal argument');
  }
  if (proposal === undefined) return observe(call, name);
  if (call.flags.listen) throw badArgs('proposal given but -l is set');
  await campaign(call, name, proposal);
};

async function observe(call: Call<typeof ELECT_FLAGS>, name: string): Promise<void> {
  const { concurrency } = await call.connect();
  const request = { name: bytesOf(name) };
  for await (const { header, kv } of concurrency.observe(request, { signal: call.signal })) {
    const result = { header, revision: header.revision ?? 0, kvs: [kv], more: false, count: 1 };
    await call.printer.print(getView(result, PLAIN));
  }
  if (!call.signal.aborted) throw new Failure('election observation ended');
}

/** Leads until the command is stopped, then makes room for the next. */
async function campaign(call: Call<typeof ELECT_FLAGS>, name: string, proposal: string): Promise<void> {
  const client = await call.connect();
  const session = await openSession(client, ELECTION_TTL_SECONDS, call.signal);
  try {
    const { leader } = await client.concurrency.campaign(
      { name: bytesOf(name), lease: session.lease, value: bytesOf(proposal) },
      { signal: session.ended },
    );
    const held = await client.api.range({ key: leader.key }, client.options(session.ended));
    await call.printer.print(getView(held, PLAIN));
    await aborted(session.ended);
    if (session.lost) throw new Failure('elect: session expired');
    await client.concurrency.resign({ leader }, client.options());
  } finally {
    await session.close();
  }
}
