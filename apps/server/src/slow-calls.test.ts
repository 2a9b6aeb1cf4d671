import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@muster/base';
import { createMetrics } from '@muster/gateway';
import { slowCallLog } from './slow-calls.ts';

test('slow calls are logged once a second, those that wait for others never', () => {
  const clock = new ManualClock();
  const lines: object[] = [];
  const logger = { warn: (fields: object) => void lines.push(fields) };
  const metrics = createMetrics({ slowCall: { seconds: 0.3, report: slowCallLog(clock, logger, 300) } });
  const put = { type: 'unary', service: 'etcdserverpb.KV', method: 'Put' } as const;
  metrics.grpcHandled(put, 0, 0.3);
  metrics.grpcHandled({ type: 'bidi_stream', service: 'etcdserverpb.Watch', method: 'Watch' }, 0, 500);
  metrics.grpcHandled({ type: 'unary', service: 'v3lockpb.Lock', method: 'Lock' }, 0, 500);
  assert.deepEqual(lines, []);
  for (let i = 0; i < 3; i++) metrics.grpcHandled(put, i, 0.4321);
  clock.advance(1000);
  metrics.grpcHandled(put, 4, 2);
  const line = { method: '/etcdserverpb.KV/Put', expectedMs: 300 };
  assert.deepEqual(lines, [
    { ...line, code: 0, tookMs: 432 },
    { ...line, code: 4, tookMs: 2000, others: 2 },
  ]);
});
