/** Writes what is made from the document: `pnpm --filter @muster/openapi generate`. */
import { readFileSync, writeFileSync } from 'node:fs';
import openapiTS, { astToString, COMMENT_HEADER } from 'openapi-typescript';
import { parse } from 'yaml';

const SOURCE = new URL('./gateway.v1.yaml', import.meta.url);

type Generated = { readonly target: URL; readonly text: string };

/** The generated files: types for both sides of the wire, and the document as the gateway reads and serves it. */
export async function generate(): Promise<Generated[]> {
  const yaml = readFileSync(SOURCE, 'utf8');
  const types = await openapiTS(yaml, { silent: true, defaultNonNullable: false });
  return [
    {
      target: new URL('../packages/contract/src/gen/openapi.ts', import.meta.url),
      text: COMMENT_HEADER + astToString(types),
    },
    {
      target: new URL('../packages/gateway/src/v1/gen/openapi.json', import.meta.url),
      text: `${JSON.stringify(parse(yaml), null, 1)}\n`,
    },
  ];
}

if (import.meta.main) {
  for (const { target, text } of await generate()) writeFileSync(target, text);
}
