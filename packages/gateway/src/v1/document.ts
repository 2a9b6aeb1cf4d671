/** The OpenAPI document as the gateway uses it: one operation per path and method. */
import { readFileSync } from 'node:fs';
import { assert } from '@muster/base';

export type JsonSchema = { readonly [name: string]: unknown };
export type Parameter = {
  readonly name: string;
  readonly in: 'path' | 'query' | 'header';
  readonly required?: boolean;
  readonly schema: JsonSchema;
};
export type Operation = {
  readonly id: string;
  /** As in the document: `/v1/leases/{id}`. */
  readonly path: string;
  readonly method: string;
  readonly parameters: readonly Parameter[];
  readonly bodyRequired: boolean;
  /** By media type; empty when the operation takes no body. */
  readonly bodySchemas: Readonly<Record<string, JsonSchema>>;
};

type Raw = { readonly [name: string]: unknown };

export const METHODS = ['get', 'put', 'post', 'delete', 'patch'] as const;
/** `openapi/gateway.v1.yaml` as JSON: reading YAML would be a good part of a member's start. */
const SOURCE = new URL('./gen/openapi.json', import.meta.url);

/** The document, taken apart once. */
export class OpenApiDocument {
  readonly root: Raw;
  readonly operations: ReadonlyMap<string, Operation>;
  /** The document as JSON text. */
  readonly json: string;

  constructor(json: string) {
    this.root = JSON.parse(json) as Raw;
    this.json = json;
    this.operations = new Map(this.#readOperations().map((operation) => [operation.id, operation]));
  }

  /** The methods that a path of the document has, in upper case. */
  methodsOf(path: string): string[] {
    return [...this.operations.values()].filter((o) => o.path === path).map((o) => o.method.toUpperCase());
  }

  resolve(value: unknown): Raw {
    let at = value as Raw;
    while (typeof at.$ref === 'string') {
      const steps = at.$ref.slice(2).split('/');
      at = steps.reduce<Raw>((node, step) => node[step] as Raw, this.root);
      assert(at !== undefined, `the document has nothing at ${steps.join('/')}`);
    }
    return at;
  }

  #readOperations(): Operation[] {
    const found: Operation[] = [];
    for (const [path, item] of Object.entries(this.root.paths as Record<string, Raw>)) {
      for (const method of METHODS) {
        if (item[method]) found.push(this.#readOperation(path, method, item, item[method] as Raw));
      }
    }
    return found;
  }

  #readOperation(path: string, method: string, item: Raw, raw: Raw): Operation {
    const listed = [...((item.parameters as Raw[]) ?? []), ...((raw.parameters as Raw[]) ?? [])];
    const body = raw.requestBody === undefined ? undefined : this.resolve(raw.requestBody);
    const content = (body?.content ?? {}) as Record<string, { readonly schema: JsonSchema }>;
    return {
      id: raw.operationId as string,
      path,
      method,
      parameters: listed.map((parameter) => this.resolve(parameter) as unknown as Parameter),
      bodyRequired: body?.required === true,
      bodySchemas: Object.fromEntries(Object.entries(content).map(([type, { schema }]) => [type, schema])),
    };
  }
}

export function loadDocument(): OpenApiDocument {
  return new OpenApiDocument(readFileSync(SOURCE, 'utf8'));
}
