import { MusterError } from './errors.ts';

/** A value as it travels: text where its bytes are UTF-8, bytes otherwise. */
export type RawValue = string | Uint8Array;

/** How values of one type are stored. `decode` throws on what it cannot take. */
export type Codec<T> = {
  encode(value: T): RawValue;
  decode(raw: RawValue, key: string): T;
};

/** A validator as libraries such as zod and valibot expose it (standardschema.dev); only synchronous ones serve here. */
export type StandardSchema<T> = {
  readonly '~standard': {
    validate(value: unknown): StandardResult<T> | Promise<StandardResult<T>>;
  };
};
type StandardResult<T> =
  | { readonly value: T; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] };

const encoder = new TextEncoder();

/** UTF-8 text; the default. A value that is not text is refused rather than mangled. */
export const textCodec: Codec<string> = {
  encode: (value) => value,
  decode(raw, key) {
    if (typeof raw === 'string') return raw;
    throw new MusterError(
      'BAD_RESPONSE',
      `the value of ${key} is not UTF-8 text: read it with bytesCodec or rawCodec`,
    );
  },
};

/** Bytes, whatever they are. */
export const bytesCodec: Codec<Uint8Array> = {
  encode: (value) => value,
  decode: (raw) => (typeof raw === 'string' ? encoder.encode(raw) : raw),
};

/** Text where it is text, bytes otherwise: never fails. */
export const rawCodec: Codec<RawValue> = { encode: (value) => value, decode: (raw) => raw };

/** JSON, checked with `schema` when there is one. */
export function jsonCodec<T>(schema?: StandardSchema<T>): Codec<T> {
  return {
    encode: (value) => JSON.stringify(value),
    decode(raw, key) {
      const parsed = parseJson(raw, key);
      return schema ? validated(schema, parsed, key) : (parsed as T);
    },
  };
}

function parseJson(raw: RawValue, key: string): unknown {
  try {
    if (typeof raw === 'string') return JSON.parse(raw);
  } catch {
    // Told below, together with values that are not even text.
  }
  throw new MusterError('BAD_RESPONSE', `the value of ${key} is not JSON`);
}

function validated<T>(schema: StandardSchema<T>, value: unknown, key: string): T {
  const result = schema['~standard'].validate(value);
  if (result instanceof Promise) {
    throw new MusterError('BAD_REQUEST', 'jsonCodec: expected a schema that validates synchronously');
  }
  if (result.issues) {
    const issues = result.issues.map((issue) => issue.message).join('; ');
    throw new MusterError('BAD_RESPONSE', `the value of ${key} does not fit its schema: ${issues}`);
  }
  return result.value;
}
