import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERRORS, type ErrorCode, KvError } from './errors.ts';

test('every text leads back to a row of that text, alone and behind a status as Go writes it', () => {
  for (const code of Object.keys(ERRORS) as ErrorCode[]) {
    const { text } = ERRORS[code];
    for (const written of [text, `rpc error: code = PermissionDenied desc = ${text}`]) {
      assert.equal(KvError.fromText(written)?.message, text);
    }
  }
  assert.equal(KvError.fromText('rpc error: code = Unknown desc = '), undefined);
  assert.equal(KvError.fromText('etcdserver: something new'), undefined);
});
