/** What the transport's tests share: real time, images in memory, and a transport that records its events. */
import { type Clock, concatBytes, Prng, type Timer } from '@muster/base';
import type { PeerEvent } from '@muster/member';
import { TlsIdentity, type TlsIdentityOptions } from '../tls/identity.ts';
import type { PeerLog } from './env.ts';
import type { PeerLimits } from './limits.ts';
import type { SnapshotFiles, SnapshotSink, SnapshotSource } from './snapshot-files.ts';
import { TcpPeerTransport } from './transport.ts';

/** What has not come by then never will. */
const PATIENCE_MS = 30_000;

type RealTimer = { cancelled: boolean; readonly handle: NodeJS.Timeout };

export const realClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  schedule(delayMs, run): Timer {
    const timer: RealTimer = { cancelled: false, handle: setTimeout(run, delayMs) };
    return timer;
  },
  cancel(timer) {
    (timer as RealTimer).cancelled = true;
    clearTimeout((timer as RealTimer).handle);
  },
  defer: (run) => void setImmediate(run),
};

/** Images in memory, with the rule that matters: what is not finished is not there. */
class MemorySnapshots implements SnapshotFiles {
  readonly images = new Map<string, Uint8Array>();
  readonly log: string[] = [];
  /** Set to hold up every write of incoming images until it resolves. */
  gate: Promise<void> = Promise.resolve();
  /** Set to make `finish` fail, as a bad checksum would. */
  rejectFinish: string | undefined;

  async openRead(name: string): Promise<SnapshotSource> {
    const image = this.images.get(name);
    if (image === undefined) throw new Error(`no snapshot ${name}`);
    let at = 0;
    return {
      size: image.length,
      read: async (maxBytes) => {
        at += maxBytes;
        return image.subarray(at - maxBytes, at);
      },
      close: async () => void this.log.push(`closed ${name}`),
    };
  }

  async receive(name: string, size: number): Promise<SnapshotSink> {
    const chunks: Uint8Array[] = [];
    this.log.push(`receiving ${name} ${size}`);
    return {
      write: async (chunk) => {
        await this.gate;
        chunks.push(chunk.slice());
      },
      finish: async () => {
        if (this.rejectFinish !== undefined) throw new Error(this.rejectFinish);
        this.images.set(name, concatBytes(...chunks));
      },
      abort: async () => void this.log.push(`aborted ${name}`),
    };
  }
}

type LogLine = { readonly text: string; readonly fields: Readonly<Record<string, unknown>> };

/** A transport on a free port, with its events in a list that can be waited on. */
export class Station {
  readonly id: bigint;
  readonly transport: TcpPeerTransport;
  readonly snapshots: MemorySnapshots;
  readonly events: PeerEvent[] = [];
  readonly logged: LogLine[];
  #waiting: { readonly test: () => boolean; readonly resolve: () => void }[] = [];

  private constructor(
    id: bigint,
    transport: TcpPeerTransport,
    snapshots: MemorySnapshots,
    logged: LogLine[],
  ) {
    this.id = id;
    this.transport = transport;
    this.snapshots = snapshots;
    this.logged = logged;
    transport.onEvent((event) => {
      this.events.push(event);
      const ready = this.#waiting.filter((waiting) => waiting.test());
      this.#waiting = this.#waiting.filter((waiting) => !ready.includes(waiting));
      for (const waiting of ready) waiting.resolve();
    });
  }

  static async open(
    id: bigint,
    options: {
      port?: number;
      clusterId?: bigint;
      limits?: Partial<PeerLimits>;
      tls?: Omit<TlsIdentityOptions, 'log'>;
    } = {},
  ): Promise<Station> {
    const snapshots = new MemorySnapshots();
    const logged: LogLine[] = [];
    const log: PeerLog = {
      info: (fields, text) => void logged.push({ text, fields }),
      warn: (fields, text) => void logged.push({ text, fields }),
    };
    const transport = await TcpPeerTransport.listen({
      clusterId: options.clusterId ?? 7n,
      id,
      serverVersion: '0.1.0',
      listen: [{ host: '127.0.0.1', port: options.port ?? 0, tls: options.tls !== undefined }],
      ...(options.tls && { tls: new TlsIdentity({ ...options.tls, log }) }),
      clock: realClock,
      prng: new Prng(`station ${id}`),
      snapshots,
      log,
      ...(options.limits === undefined ? {} : { limits: options.limits }),
    });
    return new Station(id, transport, snapshots, logged);
  }

  get url(): string {
    const { tls } = this.transport.addresses[0] ?? {};
    return `http${tls ? 's' : ''}://127.0.0.1:${this.port}`;
  }

  get port(): number {
    return this.transport.addresses[0]?.port ?? 0;
  }

  /** Resolves once the predicate holds of some event, now or later. */
  async event(test: (event: PeerEvent) => boolean): Promise<PeerEvent> {
    await this.until(() => this.events.some(test));
    return this.events.find(test) as PeerEvent;
  }

  /** Resolves once the predicate, asked again after every event, holds. */
  until(test: () => boolean): Promise<void> {
    if (test()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const log = () => JSON.stringify(this.logged.slice(-10));
      const timer = setTimeout(() => reject(new Error(`waited for ${test}; the log: ${log()}`)), PATIENCE_MS);
      this.#waiting.push({
        test,
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
      });
    });
  }

  count(type: PeerEvent['type']): number {
    return this.events.filter((event) => event.type === type).length;
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.transport.close(resolve));
  }
}

/** Makes the stations each other's peers and waits until all are connected. */
export async function introduce(...stations: readonly Station[]): Promise<void> {
  for (const station of stations) {
    const others = stations.filter((other) => other !== station);
    station.transport.setPeers(new Map(others.map((other) => [other.id, [other.url]])));
  }
  await Promise.all(
    stations.map((station) => station.until(() => station.count('connected') >= stations.length - 1)),
  );
}
