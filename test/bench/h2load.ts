import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';

const run = promisify(execFile);

type GrpcLoad<D extends DescMessage> = {
  readonly h2load: string;
  /** Of the member, without a path. */
  readonly url: string;
  /** `/service/method`. */
  readonly path: string;
  readonly schema: D;
  readonly request: MessageInitShape<D>;
  readonly connections: number;
  /** Calls at a time on each connection. */
  readonly streams: number;
  readonly seconds: number;
};

/** Calls a second, of one call repeated. Any failed one makes the measurement void: it rejects. */
export async function grpcLoad<D extends DescMessage>(load: GrpcLoad<D>): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'muster-h2load-'));
  try {
    const message = toBinary(load.schema, create(load.schema, load.request));
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.length, 1);
    const body = join(directory, 'body');
    writeFileSync(body, Buffer.concat([prefix, message]));
    const { stdout } = await run(load.h2load, [
      ...['-D', String(load.seconds), '-d', body, '-c', String(load.connections), '-m', String(load.streams)],
      ...['-H', 'content-type: application/grpc', '-H', 'te: trailers', `${load.url}${load.path}`],
    ]);
    const rate = Number(/finished in \S+, ([\d.]+) req\/s/.exec(stdout)?.[1]);
    if (!(rate > 0) || !/ 0 failed, 0 errored, 0 timeout/.test(stdout)) {
      throw new Error(`calls of ${load.path} failed:\n${stdout}`);
    }
    return rate;
  } finally {
    rmSync(directory, { recursive: true });
  }
}
