import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { generate } from './generate.ts';

test('the committed files are what the document generates', async () => {
  for (const { target, text } of await generate()) {
    assert.equal(readFileSync(target, 'utf8'), text, 'run: pnpm --filter @muster/openapi generate');
  }
});

test('every operation has an id, a summary, its tag, and problems only as problem+json', () => {
  const document = parse(readFileSync(new URL('./gateway.v1.yaml', import.meta.url), 'utf8'));
  const tags = new Set(document.tags.map((tag: { name: string }) => tag.name));
  const ids = new Set<string>();
  for (const [path, item] of Object.entries<Record<string, Operation>>(document.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      if (method === 'parameters') continue;
      const where = `${method} ${path}`;
      assert.ok(operation.operationId && !ids.has(operation.operationId), `${where}: an id of its own`);
      ids.add(operation.operationId);
      assert.ok(operation.summary, `${where}: a summary`);
      assert.ok(
        operation.tags.every((tag) => tags.has(tag)),
        `${where}: known tags`,
      );
      for (const [status, response] of Object.entries(operation.responses)) {
        if (Number(status) < 400) continue;
        const name = status === '401' ? 'Unauthenticated' : 'Problem';
        assert.equal(response.$ref, `#/components/responses/${name}`, `${where} ${status}`);
      }
    }
  }
});

type Operation = {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly responses: Readonly<Record<string, { readonly $ref?: string }>>;
};
