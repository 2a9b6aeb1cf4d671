import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { ProtoError, ProtoReader } from './proto-reader.ts';
import { ProtoWriter } from './proto-writer.ts';

/** One message of the protocol and the value of the seam that it stands for. */
export type Codec<T> = {
  write(writer: ProtoWriter, value: T): void;
  /** Throws `ProtoError` for bytes that are no such message, `KvError` for one that says what cannot be. */
  read(bytes: Uint8Array): T;
};

const scratch = new ProtoWriter();

/** The message alone. */
export function encode<T>(codec: Codec<T>, value: T): Buffer {
  write(codec, value);
  return scratch.take();
}

/** The message behind the five bytes that gRPC puts before each. */
export function encodeFramed<T>(codec: Codec<T>, value: T): Buffer {
  write(codec, value);
  return scratch.takeFramed();
}

/** What a codec had written before it threw must not stand before the next message. */
function write<T>(codec: Codec<T>, value: T): void {
  try {
    codec.write(scratch, value);
  } catch (error) {
    scratch.discard();
    throw error;
  }
}

/** A codec written by hand: for what is sent often. */
export function handCodec<T>(
  write: (writer: ProtoWriter, value: T) => void,
  read: (reader: ProtoReader, end: number) => T,
): Codec<T> {
  return {
    write,
    read(bytes) {
      const reader = new ProtoReader(bytes);
      const value = read(reader, reader.end);
      reader.leave(reader.end);
      return value;
    },
  };
}

/** A codec out of the generated description of a message. */
export function codecOf<D extends DescMessage, T>(
  schema: D,
  toMessage: (value: T) => MessageInitShape<D>,
  fromMessage: (message: MessageShape<D>) => T,
): Codec<T> {
  return {
    write: (writer, value) => writer.raw(toBinary(schema, create(schema, toMessage(value)))),
    read: (bytes) => fromMessage(decoded(schema, bytes)),
  };
}

function decoded<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch (error) {
    throw new ProtoError(error instanceof Error ? error.message : String(error));
  }
}

/** A request without fields. */
export function emptyCodec<D extends DescMessage>(schema: D): Codec<unknown> {
  return {
    write: () => {},
    read: (bytes) => (bytes.length === 0 ? {} : decoded(schema, bytes)),
  };
}
