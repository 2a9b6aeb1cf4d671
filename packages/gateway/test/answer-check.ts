/** Every answer that a test gets is checked against the OpenAPI document: its status, its media type, its JSON. */
import assert from 'node:assert/strict';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { OpenApiDocument } from '../src/v1/document.ts';

type Answer = { readonly content?: Readonly<Record<string, { readonly schema: object }>> };
type Paths = Record<string, Record<string, { responses: Record<string, unknown> }>>;

export class AnswerCheck {
  readonly #document: OpenApiDocument;
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false });
  readonly #compiled = new Map<string, ValidateFunction>();

  constructor(document: OpenApiDocument) {
    this.#document = document;
    this.#ajv.addSchema(document.root, 'gateway');
  }

  async check(method: string, path: string, response: Response): Promise<void> {
    const bare = path.split('?', 1)[0] as string;
    const name = method === 'HEAD' ? 'get' : method.toLowerCase();
    const operation = [...this.#document.operations.values()].find(
      (o) => o.method === name && pattern(o.path).test(bare),
    );
    if (!operation) {
      assert.ok(response.status === 404 || response.status === 405, `${method} ${path}: ${response.status}`);
      return;
    }
    const paths = this.#document.root.paths as Paths;
    const declared = paths[operation.path]?.[name]?.responses[String(response.status)];
    if (!declared)
      assert.fail(`${operation.id} answers ${response.status}: ${await response.clone().text()}`);
    const content = (this.#document.resolve(declared) as Answer).content;
    const type = response.headers.get('content-type')?.split(';', 1)[0];
    if (!content || !type || method === 'HEAD') return;
    assert.ok(content[type], `${operation.id} ${response.status} answers ${type}`);
    const raw = operation.id === 'getKey' || /[?&]key(B64)?=/.test(path);
    if (raw && response.status === 200) return;
    if (type.endsWith('json'))
      await this.#checkJson(`${operation.id} ${response.status}`, content[type].schema, response);
  }

  async #checkJson(where: string, schema: object, response: Response): Promise<void> {
    if (response.headers.get('content-type')?.includes('ndjson')) return;
    let validate = this.#compiled.get(where);
    if (!validate) {
      const absolute = JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"gateway#/');
      validate = this.#ajv.compile(JSON.parse(absolute));
      this.#compiled.set(where, validate);
    }
    const body = await response.clone().json();
    assert.ok(validate(body), `${where}: ${JSON.stringify(validate.errors)} in ${JSON.stringify(body)}`);
  }
}

function pattern(path: string): RegExp {
  const source = path.replace('{key}', '.*').replaceAll(/\{[a-z]+\}/gi, '[^/]+');
  return new RegExp(`^${source}$`);
}
