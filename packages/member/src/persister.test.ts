import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message, Ready } from '@muster/raft';
import { Persister } from './persister.ts';
import { type Wal, WalError } from './ports.ts';

const NO_ENTRIES = { entries: [], messages: [], committedEntries: [], readStates: [], refusedProposals: [] };
const ready = (number: number, mustPersist: boolean): Ready => ({
  number,
  ...NO_ENTRIES,
  mustPersist,
  messagesAfterPersist: [{ type: 'timeoutNow', from: 1n, to: 2n, term: number } satisfies Message],
});

test('Readys without anything to write do not pile up while the disk is full, and are acknowledged after', () => {
  let full = true;
  const wal = {
    append: (_batch, _sync, done) => done(full ? new WalError('full', { retryable: true }) : undefined),
  } as Wal;
  const acknowledged: Ready[] = [];
  const persister = new Persister({
    wal,
    hardState: { term: 1, vote: 0n, commit: 0 },
    onPersisted: (each) => acknowledged.push(each),
    onFatal: (error) => assert.fail(error),
  });
  persister.persist(ready(1, true));
  for (let number = 2; number <= 10_000; number++) persister.persist(ready(number, false));
  persister.persist(ready(10_001, true));
  persister.persist(ready(10_002, false));
  assert.ok(persister.stalled <= 4, `${persister.stalled} Readys wait`);
  assert.equal(acknowledged.length, 0);
  full = false;
  persister.retry();
  assert.deepEqual(
    acknowledged.map((each) => each.number),
    [1, 10_000, 10_001, 10_002],
  );
  const sent = acknowledged.flatMap((each) => each.messagesAfterPersist);
  assert.ok(sent.length > 3 && sent.length < 1000, `${sent.length} messages`);
  assert.equal(sent.at(-1)?.term, 10_002);
});
