/** Writes the types of gateway and SDK from the document: `pnpm --filter @muster/openapi generate`. */
import { readFileSync, writeFileSync } from 'node:fs';
import openapiTS, { astToString, COMMENT_HEADER } from 'openapi-typescript';

export const TARGET = new URL('../packages/contract/src/gen/openapi.ts', import.meta.url);
const SOURCE = new URL('./gateway.v1.yaml', import.meta.url);

/** The text of the generated file. */
export async function generateTypes(): Promise<string> {
  const nodes = await openapiTS(readFileSync(SOURCE, 'utf8'), { silent: true, defaultNonNullable: false });
  return COMMENT_HEADER + astToString(nodes);
}

if (import.meta.main) {
  writeFileSync(TARGET, await generateTypes());
}
