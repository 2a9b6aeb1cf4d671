import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gatewayLimits } from '@muster/gateway';
import { readCommandLine } from './command-line.ts';
import { limitsOf } from './compose.ts';
import { configOf } from './config.ts';

describe("the gateway's limits", () => {
  const of = (...args: string[]) => gatewayLimits(limitsOf(configOf(readCommandLine(args, {}))));

  it('follow the flags, and fit each other whatever these say', () => {
    assert.equal(of('--max-request-bytes=8388608').bodyBytes, 16777216);
    assert.equal(of('--max-request-bytes=8388608').valueBytes, 8388608);
    assert.equal(of('--max-body-bytes=1000').valueBytes, 1000);
    assert.equal(of('--max-body-bytes=1000').keyBytes, 1000);
    assert.equal(of('--max-buffered-bytes=1').outFrameBytes, 1);
    assert.equal(of('--headers-timeout=1500us').headersTimeoutMs, 2);
    assert.equal(of('--max-txn-ops=7').txnOps, 7);
  });
});
