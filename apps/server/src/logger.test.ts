import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { temporaryDirectory } from '../../../test/support/muster.ts';
import { createLogger } from './logger.ts';
import { StartRefused } from './start-refused.ts';

describe('the log', () => {
  const directory = temporaryDirectory('log');

  it('goes to every output, as JSON or for people', () => {
    const [one, two] = [join(directory, 'one'), join(directory, 'two')];
    createLogger({ level: 'info', format: 'json', outputs: [one, two] }).info({ a: 1 }, 'said');
    assert.equal(readFileSync(one, 'utf8'), readFileSync(two, 'utf8'));
    const { level, msg, a } = JSON.parse(readFileSync(one, 'utf8')) as Record<string, unknown>;
    assert.deepEqual({ level, msg, a }, { level: 'info', msg: 'said', a: 1 });
    const third = join(directory, 'three');
    const logger = createLogger({ level: 'warn', format: 'console', outputs: [third] });
    logger.info('not this');
    logger.warn({ b: 'x' }, 'this');
    logger.error('and this');
    assert.match(
      readFileSync(third, 'utf8'),
      /^\d{4}-\d\d-\d\dT[\d:.]+Z\twarn\tthis\t\{"b":"x"\}\n[^\t]+\terror\tand this\n$/,
    );
  });

  it('says which file cannot be opened', () => {
    const path = join(directory, 'none', 'file');
    assert.throws(
      () => createLogger({ level: 'info', format: 'json', outputs: [path] }),
      (error) =>
        error instanceof StartRefused && error.message.startsWith(`couldn't open sink "${path}": ENOENT`),
    );
  });
});
