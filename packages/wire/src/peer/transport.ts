import { createServer, type Server } from 'node:net';
import { createServer as createTlsServer, Server as TlsServer } from 'node:tls';
import type { Clock, Prng, Timer } from '@muster/base';
import { assert } from '@muster/base';
import type { PeerEvent, PeerMessage, PeerTransport } from '@muster/member';
import type { NodeId } from '@muster/raft';
import { guardTls } from '../tls/guard.ts';
import type { TlsIdentity } from '../tls/identity.ts';
import { encodeClusterInfo } from './cluster-info.ts';
import type { PeerEnv, PeerLog, PeerTallies } from './env.ts';
import { idText } from './handshake.ts';
import { Inbound } from './inbound.ts';
import { PEER_LIMITS, type PeerLimits } from './limits.ts';
import { Outbound, type PeerStats } from './outbound.ts';
import type { PeerAddress } from './peer-url.ts';
import type { SnapshotFiles } from './snapshot-files.ts';
import type { SnapshotMessage } from './snapshot-receiver.ts';
import { SnapshotSender } from './snapshot-sender.ts';

export type TcpPeerTransportOptions = {
  readonly clusterId: bigint;
  /** This member's id. */
  readonly id: NodeId;
  /** Told to peers in the handshake, for their logs. */
  readonly serverVersion: string;
  /** Port 0 takes any free one; see `addresses`. */
  readonly listen: readonly PeerAddress[];
  readonly clock: Clock;
  readonly prng: Prng;
  readonly snapshots: SnapshotFiles;
  /** This member's certificate and whom it trusts; for addresses that speak TLS. */
  readonly tls?: TlsIdentity;
  readonly log: PeerLog;
  readonly limits?: Partial<PeerLimits>;
  /** Told of each ping that was answered. */
  readonly onRoundTrip?: (peer: NodeId, ms: number) => void;
};

type Cluster = Parameters<PeerTransport['setPeers']>[1];
const NO_CLUSTER: Cluster = { members: [], removed: new Set() };

/**
 * Peer transport over TCP: one connection each way, dialled by the sender. `connected` says that the connection this
 * member dialled is up. `disconnected` comes when either direction breaks: with `reset` when the other process closed
 * it without a word, refused the dial or said that it stops, since then it is gone; without when it only fell silent.
 */
export class TcpPeerTransport implements PeerTransport {
  readonly #env: PeerEnv;
  readonly #inbound: Inbound;
  readonly #outbound = new Map<NodeId, Outbound>();
  /** Callers of this cluster that `setPeers` has not named. */
  readonly #strangers = new Set<NodeId>();
  readonly #senders = new Map<NodeId, SnapshotSender>();
  readonly #servers: Server[] = [];
  #handler: ((event: PeerEvent) => void) | undefined;
  #ticker: Timer | undefined;
  #closed = false;
  #cluster: Cluster = NO_CLUSTER;

  private constructor(options: TcpPeerTransportOptions) {
    const { clusterId, id, serverVersion, clock, prng, log, snapshots } = options;
    this.#env = {
      self: { clusterId, id, serverVersion },
      clock,
      prng,
      log,
      snapshots,
      tls: options.tls,
      limits: { ...PEER_LIMITS, ...options.limits },
      emit: (event) => this.#emit(event),
      urls: () => this.#cluster.members.find((member) => member.id === id)?.peerUrls ?? [],
      tallies: { disconnected: 0, malformed: 0, snapshotsLost: 0 },
      onRoundTrip: options.onRoundTrip ?? (() => {}),
    };
    this.#inbound = new Inbound({
      env: this.#env,
      standing: (sender) => {
        if (this.#cluster.removed.has(sender)) return 'removed';
        return this.#outbound.has(sender) ? 'member' : 'unknown';
      },
      clusterInfo: () => this.#clusterInfo(),
      acquaint: (stranger, urls) => this.#acquaint(stranger, urls),
      onSenderGone: (sender) => {
        if (this.#strangers.delete(sender)) this.#drop(sender);
      },
      onPeerGone: (peer, detail) => this.#outbound.get(peer)?.suspect(detail),
    });
    this.#scheduleTick();
  }

  /** Binds every address, or none. Rejects with the system's error (`EADDRINUSE` and the like). */
  static async listen(options: TcpPeerTransportOptions): Promise<TcpPeerTransport> {
    const transport = new TcpPeerTransport(options);
    try {
      for (const address of options.listen) await transport.#listen(address);
    } catch (error) {
      await new Promise<void>((resolve) => transport.close(resolve));
      throw error;
    }
    return transport;
  }

  /** Where it listens, in the order of the option. */
  get addresses(): readonly PeerAddress[] {
    return this.#servers.map((server) => {
      const address = server.address();
      assert(typeof address === 'object' && address !== null, 'a listening server has an address');
      return { host: address.address, port: address.port, tls: server instanceof TlsServer };
    });
  }

  /** Bytes received in messages since the start. */
  get receivedBytes(): number {
    return this.#inbound.receivedBytes;
  }

  /** What went wrong since the start. */
  get tallies(): Readonly<PeerTallies> {
    return this.#env.tallies;
  }

  peerStats(): readonly PeerStats[] {
    return [...this.#outbound.values()].map((outbound) => outbound.stats());
  }

  onEvent(handler: (event: PeerEvent) => void): void {
    assert(this.#handler === undefined, 'the event handler is set once');
    this.#handler = handler;
  }

  setPeers(peers: ReadonlyMap<NodeId, readonly string[]>, cluster: Cluster = NO_CLUSTER): void {
    this.#cluster = cluster;
    assert(!this.#closed, 'setPeers after close');
    assert(!peers.has(this.#env.self.id), 'a member is not its own peer');
    for (const id of [...this.#outbound.keys()]) {
      if (peers.has(id)) this.#strangers.delete(id);
      else if (!this.#strangers.has(id) || cluster.removed.has(id)) this.#drop(id);
    }
    for (const [id, urls] of peers) {
      const outbound = this.#outbound.get(id);
      if (outbound) outbound.setUrls(urls);
      else this.#outbound.set(id, new Outbound(id, urls, this.#env));
    }
    this.#inbound.retain((sender) => this.#outbound.has(sender));
  }

  send(to: NodeId, message: PeerMessage): boolean {
    return this.#outbound.get(to)?.send(message) ?? false;
  }

  sendSnapshot(to: NodeId, message: SnapshotMessage, name: string, done: (error?: Error) => void): void {
    const address = this.#outbound.get(to)?.address;
    const refusal =
      address === undefined || this.#closed
        ? `member ${idText(to)} is not a peer`
        : this.#senders.has(to)
          ? `a snapshot is already on its way to member ${idText(to)}`
          : undefined;
    if (address === undefined || refusal !== undefined) {
      this.#env.clock.defer(() => done(new Error(refusal)));
      return;
    }
    const sender = new SnapshotSender(this.#env, to, message, name);
    this.#senders.set(to, sender);
    // `done` runs from the clock, so that what it throws reaches the process and not this promise.
    const settle = (error?: Error): void => {
      this.#senders.delete(to);
      this.#env.clock.defer(() => done(error));
    };
    sender.send(address).then(
      () => settle(),
      (error: unknown) => settle(error instanceof Error ? error : new Error(String(error))),
    );
  }

  connectedForMs(peer: NodeId): number | undefined {
    return this.#outbound.get(peer)?.connectedForMs;
  }

  /** Says goodbye to everyone. No event comes afterwards. */
  close(done: () => void): void {
    assert(!this.#closed, 'closed twice');
    this.#closed = true;
    if (this.#ticker) this.#env.clock.cancel(this.#ticker);
    for (const sender of this.#senders.values()) sender.abort('this member is stopping');
    let waiting = this.#servers.length + this.#outbound.size + 1;
    const one = (): void => {
      if (--waiting === 0) done();
    };
    for (const outbound of this.#outbound.values()) outbound.close('stopping', one);
    this.#inbound.close();
    for (const server of this.#servers) server.close(one);
    this.#env.clock.defer(one);
  }

  #listen(address: PeerAddress): Promise<void> {
    return new Promise((resolve, reject) => {
      const server = address.tls === true ? this.#tlsServer() : this.#plainServer();
      server.once('error', reject);
      server.listen({ host: address.host, port: address.port }, () => {
        server.off('error', reject);
        server.on('error', (error) => this.#env.log.warn({ error: error.message }, 'peer listener'));
        this.#servers.push(server);
        resolve();
      });
    });
  }

  #plainServer(): Server {
    return createServer({ noDelay: true }, (socket) => this.#inbound.accept(socket));
  }

  #tlsServer(): Server {
    const { tls, limits } = this.#env;
    assert(tls !== undefined, 'an address with TLS has an identity');
    const server = createTlsServer({
      ...tls.serverOptions,
      noDelay: true,
      handshakeTimeout: limits.handshakeMs,
    });
    guardTls(server, tls, (socket) => this.#inbound.accept(socket));
    return server;
  }

  #acquaint(stranger: NodeId, urls: readonly string[]): boolean {
    if (this.#closed || this.#strangers.size >= this.#env.limits.strangers) return false;
    this.#env.log.info({ peer: idText(stranger), urls }, 'a member that is not known here yet');
    this.#strangers.add(stranger);
    this.#outbound.set(stranger, new Outbound(stranger, urls, this.#env));
    return true;
  }

  #drop(id: NodeId): void {
    const outbound = this.#outbound.get(id);
    this.#outbound.delete(id);
    this.#strangers.delete(id);
    outbound?.close('removed', () => {});
    this.#senders.get(id)?.abort('the peer was removed');
  }

  #clusterInfo(): Uint8Array {
    const { clusterId, serverVersion } = this.#env.self;
    const { members, removed } = this.#cluster;
    return encodeClusterInfo({ clusterId, serverVersion, members, removed: [...removed] });
  }

  #scheduleTick(): void {
    const { clock, limits } = this.#env;
    const dueMs = clock.nowMs() + limits.pingMs;
    this.#ticker = clock.schedule(limits.pingMs, () => {
      const nowMs = clock.nowMs();
      // Standing still ourselves, we heard nobody: what waits in the sockets is read after this.
      if (nowMs - dueMs > limits.silenceMs / 2) {
        this.#inbound.forgiveSilence(nowMs);
        for (const outbound of this.#outbound.values()) outbound.forgiveSilence(nowMs);
      }
      this.#inbound.tick(nowMs);
      for (const outbound of this.#outbound.values()) outbound.tick(nowMs);
      this.#scheduleTick();
    });
  }

  #emit(event: PeerEvent): void {
    if (!this.#closed) this.#handler?.(event);
  }
}
