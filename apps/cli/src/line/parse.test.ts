import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GLOBAL_FLAGS } from '../globals.ts';
import { rootCommand } from '../tree/root.ts';
import { parseLine } from './parse.ts';

const parse = (...argv: string[]) => parseLine(rootCommand('musterctl'), GLOBAL_FLAGS, argv);

test('flags and arguments in any order, global ones before the command too', () => {
  const { path, args, values } = parse('-w', 'json', 'get', 'a', '--prefix', 'b', '--limit=3', '--rev', '-1');
  assert.deepEqual(path, ['get']);
  assert.deepEqual(args, ['a', 'b']);
  assert.equal(values['write-out'], 'json');
  assert.equal(values.prefix, true);
  assert.equal(values.limit, 3);
  assert.equal(values.rev, -1);
});

test('a short flag takes its value joined, behind = or as the next word; bare letters join', () => {
  for (const line of [['-wfields'], ['-w=fields'], ['-w', 'fields']]) {
    assert.equal(parse('get', ...line).values['write-out'], 'fields');
  }
  assert.equal(parse('watch', '-i').values.interactive, true);
});

test('a boolean takes its value behind = alone', () => {
  const { args, values } = parse('get', '--prefix', 'false');
  assert.deepEqual(args, ['false']);
  assert.equal(values.prefix, true);
  assert.equal(parse('get', '--prefix=false', 'a').values.prefix, false);
  assert.throws(
    () => parse('get', '--prefix=perhaps'),
    /strconv.ParseBool: parsing "perhaps": invalid syntax/,
  );
});

test('-- ends the flags, and its place is known', () => {
  const { args, dashAt } = parse('watch', 'a', 'b', '--', 'echo', '--prefix');
  assert.deepEqual(args, ['a', 'b', 'echo', '--prefix']);
  assert.equal(dashAt, 2);
  assert.deepEqual(parse('lease', 'grant', '--', '-5').args, ['-5']);
});

test('lists take commas and repetition', () => {
  const { values } = parse('--endpoints', 'a:1,b:2', '--endpoints=c:3', 'get', 'k');
  assert.deepEqual(values.endpoints, ['a:1', 'b:2', 'c:3']);
});

test('what is wrong is named, with the nearest right one', () => {
  assert.throws(() => parse('frobnicate'), /^Failure: unknown command "frobnicate" for "musterctl"/);
  assert.throws(() => parse('lease', 'grand'), /unknown command "grand" for "musterctl lease"[\s\S]*\tgrant/);
  assert.throws(() => parse('get', '--prefxi'), /unknown flag: --prefxi, did you mean --prefix\?/);
  assert.throws(() => parse('get', '-z'), /unknown shorthand flag: 'z' in -z/);
  assert.throws(() => parse('get', '--limit'), /flag needs an argument: --limit/);
  assert.throws(
    () => parse('get', '--limit', '1.5'),
    /invalid argument "1.5" for "--limit" flag: strconv.ParseInt: parsing "1.5": invalid syntax/,
  );
  assert.throws(() => parse('get', '--command-timeout', '5'), /time: invalid duration "5"/);
});
