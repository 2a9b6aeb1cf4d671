/** The operator's guide, page after page on three hosts: every line of its `console` blocks runs and says what is shown. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { debianProgram } from '../support/debian.ts';
import { Hosts } from './hosts.ts';

const root = new URL('../..', import.meta.url).pathname;
const only = process.env.GUIDE_PAGE;

type Step = { readonly host: string; readonly command: string; readonly expected: readonly string[] };

/** The pages in the order of the index; the first sets up what the others use. */
const pages = [
  ...readFileSync(join(root, 'docs/operating.md'), 'utf8').matchAll(/\]\((operating\/[^)#]+\.md)\)/g),
].map(([, path]) => path as string);

function stepsOf(page: string): Step[] {
  const text = readFileSync(join(root, 'docs', page), 'utf8');
  const steps: { host: string; command: string; expected: string[] }[] = [];
  for (const [, block = ''] of text.matchAll(/^```console\n([\s\S]*?)^```/gm)) {
    for (const line of block.trimEnd().split('\n')) {
      const prompt = /^(\w*)\$ (.*)$/.exec(line);
      const last = steps.at(-1);
      if (prompt) {
        steps.push({ host: prompt[1] || 'admin', command: prompt[2] as string, expected: [] });
      } else if (last?.expected.length === 0 && last.command.endsWith('\\')) {
        last.command += `\n${line}`;
      } else last?.expected.push(line);
    }
  }
  return steps;
}

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** `...` stands for whatever is there: alone on its line for any lines, within one for any part of it. */
function patternOf(expected: readonly string[]): RegExp {
  const lines = expected.map((line) => {
    if (line === '...') return '(?:.*\n)*?';
    return `${line.split('...').map(escaped).join('.*')}\n`;
  });
  return new RegExp(`^${lines.join('')}$`);
}

async function check(hosts: Hosts, { host, command, expected }: Step): Promise<void> {
  const { output, status } = await hosts.run(host, command).catch((error: Error) => {
    throw new Error(`${error.message}\n${hosts.journals()}`);
  });
  const said = output === '' ? '' : `${output}\n`;
  const shown = `${host}$ ${command}\n${said}(status ${status})`;
  assert.match(said, patternOf(expected), shown);
  // A refusal that is shown is one; anything else succeeds.
  assert.equal(status !== 0, /^Error: /m.test(said), shown);
}

const missing = [
  ['openssl', 'openssl'],
  ['curl', 'curl'],
].filter(([program, pkg]) => !debianProgram(program as string, pkg as string));

describe('the operator’s guide', { skip: missing.length > 0 && `missing: ${missing}` }, () => {
  let hosts: Hosts;
  let broken: string | undefined;
  before(async () => {
    hosts = await Hosts.open();
  });
  after(() => hosts?.close());

  assert.ok(pages.length >= 8, `${pages.length} pages`);
  for (const page of pages.filter((one, i) => i === 0 || only === undefined || one.includes(only))) {
    const steps = stepsOf(page);
    if (steps.length === 0) continue;
    test(page, { timeout: 240_000 }, async () => {
      assert.equal(broken, undefined, 'a page before this one did not hold');
      broken = page;
      for (const step of steps) await check(hosts, step);
      broken = undefined;
    });
  }
});
