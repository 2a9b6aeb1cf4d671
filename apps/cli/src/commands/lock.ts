import { runProgram } from '../child.ts';
import { badArgs, Failure } from '../failure.ts';
import type { Run } from '../line/command.ts';
import { aborted } from '../pause.ts';
import { bytesOf } from '../range.ts';
import { openSession } from '../session.ts';
import type { LOCK_FLAGS } from '../tree/other.ts';

/** Holds the lock while the program runs, or until the command is stopped; then gives it back. */
export const lock: Run<typeof LOCK_FLAGS> = async (call) => {
  const [name, ...program] = call.args;
  if (name === undefined || name === '') {
    throw badArgs('lock takes a lock name argument and an optional command to execute');
  }
  const client = await call.connect();
  const session = await openSession(client, call.flags.ttl, call.signal);
  try {
    const request = { name: bytesOf(name), lease: session.lease };
    const { key, header } = await client.concurrency.lock(request, { signal: session.ended });
    if (program.length > 0) {
      await runProgram(program as [string, ...string[]], {
        ETCD_LOCK_KEY: Buffer.from(key).toString(),
        ETCD_LOCK_REV: String(header.revision ?? 0),
      });
      return;
    }
    call.io.out(Buffer.concat([key, Buffer.from('\n')]));
    await aborted(session.ended);
    if (session.lost) throw new Failure('session expired');
  } finally {
    // Takes the key with it.
    await session.close();
  }
};
