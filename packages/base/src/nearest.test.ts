import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest } from './nearest.ts';

test('the name that was most likely meant, or none', () => {
  const names = ['data-dir', 'name', 'listen-client-urls', 'listen-peer-urls'];
  assert.equal(nearest('data-dri', names), 'data-dir');
  assert.equal(nearest('listen-client-url', names), 'listen-client-urls');
  assert.equal(nearest('listen-pear-urls', names), 'listen-peer-urls');
  assert.equal(nearest('nam', names), 'name');
  assert.equal(nearest('gte', ['put', 'get']), 'get');
  assert.equal(nearest('frobnicate', names), undefined);
  assert.equal(nearest('x', []), undefined);
});
