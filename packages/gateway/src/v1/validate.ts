/** Requests checked against the OpenAPI document, by validators compiled once, when first needed. */
import { utf8TextOrUndefined } from '@muster/base';
import { KvError } from '@muster/contract';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import type { JsonSchema, OpenApiDocument, Operation, Parameter } from './document.ts';
import { JSON_DEPTH_MAX, jsonDepth } from './json-depth.ts';
import { parseQuery } from './query-string.ts';

/** One thing that was wrong. `pointer` is a JSON pointer into the query, the body and so on. */
type Violation = {
  readonly in: 'path' | 'query' | 'header' | 'body';
  readonly pointer: string;
  readonly expected: string;
};

/** What is wrong with a value; empty when nothing is. */
type Check = (value: unknown) => readonly ErrorObject[];
type Coerce = 'integer' | 'number' | 'boolean' | 'array' | 'string';
type CheckedParameter = { readonly name: string; readonly coerce: Coerce; readonly check: Check };

type QueryValues = Readonly<Record<string, unknown>>;

/** Checks the requests of one operation. */
export class OperationValidator {
  readonly operation: Operation;
  readonly #query: ReadonlyMap<string, CheckedParameter>;
  /** Parameters named by pattern: `meta.*`. */
  readonly #queryPatterns: readonly CheckedParameter[];
  readonly #headers: readonly CheckedParameter[];
  readonly #path: readonly CheckedParameter[];
  readonly #body: ReadonlyMap<string, Check>;

  constructor(operation: Operation, compile: (schema: JsonSchema) => Check, document: OpenApiDocument) {
    this.operation = operation;
    const checked = (where: Parameter['in']): CheckedParameter[] =>
      operation.parameters
        .filter((p) => p.in === where)
        .map((p) => ({
          name: p.name,
          coerce: coercion(document.resolve(p.schema)),
          check: compile(p.schema),
        }));
    const query = checked('query');
    this.#query = new Map(query.filter((p) => !p.name.endsWith('*')).map((p) => [p.name, p]));
    this.#queryPatterns = query.filter((p) => p.name.endsWith('*'));
    this.#headers = checked('header');
    this.#path = checked('path');
    this.#body = new Map(
      Object.entries(operation.bodySchemas).map(([type, schema]) => [type, compile(schema)]),
    );
  }

  /** The query's values with their types, or BAD_REQUEST with everything that was wrong. */
  query(raw: string): QueryValues {
    const values: Record<string, unknown> = Object.create(null);
    if (raw === '') return values;
    const wrong: Violation[] = [];
    for (const [name, text] of parseQuery(raw)) {
      const parameter = this.#query.get(name) ?? this.#patternFor(name);
      if (!parameter) {
        wrong.push({ in: 'query', pointer: `/${name}`, expected: `one of ${this.#knownNames()}` });
      } else if (parameter.coerce === 'array') {
        const list = (values[name] ??= []) as string[];
        list.push(...text.split(',').filter((part) => part !== ''));
      } else if (name in values) {
        wrong.push({ in: 'query', pointer: `/${name}`, expected: 'it once' });
      } else {
        values[name] = coerce(parameter, text);
      }
    }
    for (const name of Object.keys(values)) {
      const parameter = this.#query.get(name) ?? this.#patternFor(name);
      if (parameter) collect(wrong, 'query', `/${name}`, parameter.check, values[name]);
    }
    refuse(wrong);
    return values;
  }

  headers(get: (name: string) => string | undefined): void {
    const wrong: Violation[] = [];
    for (const parameter of this.#headers) {
      const value = get(parameter.name);
      if (value !== undefined) collect(wrong, 'header', `/${parameter.name}`, parameter.check, value);
    }
    refuse(wrong);
  }

  path(get: (name: string) => string | undefined): void {
    const wrong: Violation[] = [];
    for (const { name, check } of this.#path) {
      const value = get(name);
      if (value !== undefined) collect(wrong, 'path', `/${name}`, check, value);
    }
    refuse(wrong);
  }

  /** A JSON body, parsed and checked; `undefined` when there is none and none is required. */
  jsonBody(bytes: Uint8Array, contentType: string | undefined): unknown {
    if (bytes.length === 0 && !this.operation.bodyRequired) return undefined;
    const type = mediaType(contentType);
    const check = this.#body.get(type);
    if (!check) {
      const known = [...this.#body.keys()].join(' or ');
      throw new KvError('UNSUPPORTED_MEDIA_TYPE', {
        detail: `the body is sent as ${type || 'nothing'}; content-type: ${known} expected`,
      });
    }
    if (jsonDepth(bytes) > JSON_DEPTH_MAX) {
      throw new KvError('BAD_REQUEST', { detail: `the body nests deeper than ${JSON_DEPTH_MAX} levels` });
    }
    const value = parseJson(bytes);
    const wrong: Violation[] = [];
    collect(wrong, 'body', '', check, value);
    refuse(wrong);
    return value;
  }

  #patternFor(name: string): CheckedParameter | undefined {
    return this.#queryPatterns.find(
      (p) => name.length >= p.name.length && name.startsWith(p.name.slice(0, -1)),
    );
  }

  #knownNames(): string {
    return [...this.#query.keys(), ...this.#queryPatterns.map((p) => p.name)].join(', ') || 'none';
  }
}

/**
 * The validators of every operation of the document, by operation id. Schemas are compiled when they are first needed:
 * all of them at once would be a good part of a member's start.
 */
export function makeValidators(document: OpenApiDocument): ReadonlyMap<string, OperationValidator> {
  const ajv = new Ajv2020({ strict: false, allErrors: false, validateFormats: false });
  ajv.addSchema(document.root, 'gateway');
  const lazily = (schema: JsonSchema): Check => {
    let compiled: ValidateFunction | undefined;
    return (value) => {
      compiled ??= ajv.compile(absolute(schema));
      return compiled(value) ? NO_ERRORS : (compiled.errors ?? NO_ERRORS);
    };
  };
  return new Map(
    [...document.operations].map(([id, operation]) => [
      id,
      new OperationValidator(operation, lazily, document),
    ]),
  );
}

const NO_ERRORS: readonly ErrorObject[] = [];

/** References within the document, seen from outside of it. */
function absolute(schema: JsonSchema): JsonSchema {
  return JSON.parse(JSON.stringify(schema).replaceAll('"$ref":"#/', '"$ref":"gateway#/')) as JsonSchema;
}

/** JSON out of UTF-8 bytes, or BAD_REQUEST. */
export function parseJson(bytes: Uint8Array): unknown {
  const text = utf8TextOrUndefined(bytes);
  if (text === undefined) throw new KvError('BAD_REQUEST', { detail: 'the body is not valid UTF-8' });
  try {
    return JSON.parse(text);
  } catch (error) {
    const detail = `the body is not JSON: ${error instanceof Error ? error.message : String(error)}`;
    throw new KvError('BAD_REQUEST', { detail });
  }
}

/** The type in a Content-Type header, without its parameters, in lower case. */
export function mediaType(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

function coercion(schema: { readonly [name: string]: unknown }): Coerce {
  const { type } = schema;
  return type === 'integer' || type === 'number' || type === 'boolean' || type === 'array' ? type : 'string';
}

/** What does not look like its type stays text, which the schema then refuses. */
function coerce({ coerce: to, name }: CheckedParameter, text: string): unknown {
  if (to === 'integer') return /^-?[0-9]{1,15}$/.test(text) ? Number(text) : text;
  if (to === 'number') return /^-?[0-9]{1,15}(\.[0-9]{1,15})?$/.test(text) ? Number(text) : text;
  if (to === 'boolean') {
    if (text === '' || text === '1' || text === 'true') return true;
    return text === '0' || text === 'false' ? false : text;
  }
  // A form-decoded `+` of base64 comes as a space.
  return name.endsWith('B64') ? text.replaceAll(' ', '+') : text;
}

function collect(
  into: Violation[],
  where: Violation['in'],
  pointer: string,
  check: Check,
  value: unknown,
): void {
  const errors = check(value);
  const error = errors.find((e) => e.keyword !== 'oneOf' && e.keyword !== 'allOf') ?? errors[0];
  if (error)
    into.push({ in: where, pointer: pointer + error.instancePath, expected: expected(error, errors) });
}

/** What should have been there, in words. */
function expected(error: ErrorObject, all: readonly ErrorObject[]): string {
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case 'enum':
      return `one of ${(params.allowedValues as unknown[]).join(', ')}`;
    case 'type':
      return `${String(params.type)}`;
    case 'pattern':
      return `text that matches ${String(params.pattern)}`;
    case 'additionalProperties':
      return `no member ${JSON.stringify(params.additionalProperty)}`;
    case 'required': {
      const names = all.filter((e) => e.keyword === 'required').map((e) => String(e.params.missingProperty));
      return names.length > 1 ? `exactly one of the members ${names.join(', ')}` : `the member ${names[0]}`;
    }
    case 'oneOf':
      return 'exactly one of the alternatives';
    default:
      return (error.message ?? 'something else').replace(/^must /, '');
  }
}

function refuse(wrong: readonly Violation[]): void {
  const first = wrong[0];
  if (!first) return;
  throw new KvError('BAD_REQUEST', {
    detail: wrong.map((v) => `${v.in} ${v.pointer || '/'}: expected ${v.expected}`).join('; '),
    extra: { errors: wrong.slice(0, 20) },
  });
}
