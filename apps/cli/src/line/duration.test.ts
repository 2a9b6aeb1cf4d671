import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration, parseDuration } from './duration.ts';

test("Go's durations are read", () => {
  for (const [text, ms] of [
    ['0', 0],
    ['2s', 2_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['250ms', 250],
    ['-1s', -1_000],
    ['.5s', 500],
  ] as const) {
    assert.equal(parseDuration(text)?.ms, ms, text);
  }
  for (const text of ['', '5', 's', '1x', '1s2', '1 s']) assert.equal(parseDuration(text), undefined, text);
});

test('and written as Go does', () => {
  for (const [nanoseconds, text] of [
    [0, '0s'],
    [12, '12ns'],
    [1_500, '1.5µs'],
    [1_951_539, '1.951539ms'],
    [1_000_557_571, '1.000557571s'],
    [63_000_000_000, '1m3s'],
    [3_600_000_000_000, '1h0m0s'],
  ] as const) {
    assert.equal(formatDuration(nanoseconds), text);
  }
});
