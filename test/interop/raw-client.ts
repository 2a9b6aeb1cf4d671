/** A gRPC client of nothing but the protocol: generated messages over grpc-js, round robin over the endpoints. */
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';

type Method<I extends DescMessage, O extends DescMessage> = {
  readonly name: string;
  readonly parent: { readonly typeName: string };
  readonly input: I;
  readonly output: O;
};

const DEADLINE_MS = 10_000;

export class RawClient {
  readonly #clients: grpc.Client[];
  #next = 0;

  constructor(addresses: readonly string[], credentials = grpc.credentials.createInsecure()) {
    const options = { 'grpc.max_receive_message_length': -1, 'grpc.initial_reconnect_backoff_ms': 100 };
    this.#clients = addresses.map((address) => new grpc.Client(address, credentials, options));
  }

  /** One endpoint after the other; `at` names one. Rejects with grpc-js's ServiceError. */
  call<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I>,
    at = this.#next++,
  ): Promise<MessageShape<O>> {
    const client = this.#clients[at % this.#clients.length] as grpc.Client;
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        pathOf(method),
        (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
        (bytes) => fromBinary(method.output, bytes),
        create(method.input, request),
        new grpc.Metadata(),
        { deadline: Date.now() + DEADLINE_MS },
        (error, answer) => (error ? reject(error) : resolve(answer as MessageShape<O>)),
      );
    });
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    metadata: Readonly<Record<string, string>>,
    at: number,
  ): grpc.ClientDuplexStream<MessageShape<I>, MessageShape<O>> {
    const client = this.#clients[at % this.#clients.length] as grpc.Client;
    const fields = new grpc.Metadata();
    for (const [key, value] of Object.entries(metadata)) fields.set(key, value);
    return client.makeBidiStreamRequest(
      pathOf(method),
      (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
      (bytes) => fromBinary(method.output, bytes),
      fields,
    );
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }
}

function pathOf(method: Method<DescMessage, DescMessage>): string {
  return `/${method.parent.typeName}/${method.name}`;
}
