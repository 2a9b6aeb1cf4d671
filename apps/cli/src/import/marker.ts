import type { Compare } from '@muster/kv';
import type { EtcdClient } from '../client.ts';
import { Failure } from '../failure.ts';
import { bytesOf } from '../range.ts';

/** How far an import is; a key of the destination, written with what it tells of. */
export type Marker = {
  /** Of the source cluster, in hexadecimal. */
  readonly source: string;
  readonly prefix: string;
  /** Everything up to this revision of the source is there, deletions too unless `copying`. */
  readonly revision: number;
  /** The state at this revision is being copied; what changed up to `revision` is there. */
  readonly copying?: number;
};

export class MarkerKey {
  readonly key: Uint8Array;
  readonly #target: EtcdClient;
  #bytes: Uint8Array | undefined;

  constructor(target: EtcdClient, key: string) {
    this.#target = target;
    this.key = bytesOf(key);
  }

  async read(signal: AbortSignal): Promise<Marker | undefined> {
    const { kvs } = await this.#target.api.range({ key: this.key }, this.#target.options(signal));
    this.#bytes = kvs[0]?.value;
    return this.#bytes && parseMarker(this.#bytes);
  }

  /** True only where the key still holds what we last read or wrote: nobody else imports. */
  guard(): Compare {
    const { key } = this;
    return this.#bytes === undefined
      ? { key, target: 'create', result: 'equal', operand: { kind: 'create', number: 0 } }
      : { key, target: 'value', result: 'equal', operand: { kind: 'value', bytes: this.#bytes } };
  }

  encode(marker: Marker): Uint8Array {
    return bytesOf(JSON.stringify(marker));
  }

  wrote(bytes: Uint8Array | undefined): void {
    this.#bytes = bytes;
  }
}

function parseMarker(bytes: Uint8Array): Marker {
  try {
    const parsed = JSON.parse(Buffer.from(bytes).toString()) as Partial<Marker>;
    const { source, prefix, revision, copying } = parsed;
    if (typeof source === 'string' && typeof prefix === 'string' && Number.isSafeInteger(revision)) {
      return {
        source,
        prefix,
        revision: revision as number,
        ...(Number.isSafeInteger(copying) && { copying: copying as number }),
      };
    }
  } catch {
    // Told below.
  }
  throw new Failure('the marker key holds something else: name another one with --marker');
}
