import { decodeConfChange, type NodeId, type RaftNode } from '@muster/raft';
import type { Admission } from './admission.ts';
import type { HandOver } from './hand-over.ts';
import type { Installer } from './installer.ts';
import type { LeaderLink } from './leader-link.ts';
import type { Membership } from './membership.ts';
import type { PeerCalls } from './peer-calls.ts';
import type { PeerEvent, PeerMessage } from './ports.ts';

/** Who takes what comes from the other members. Raft hears nothing before this member is admitted. */
export function peerEvents(to: {
  readonly raft: RaftNode;
  readonly link: LeaderLink;
  readonly calls: PeerCalls;
  readonly admission: Admission;
  readonly installer: Installer;
  readonly handOver: HandOver;
  readonly membership: Membership;
  /** No more entries fit into this member's log: they are dropped unheard, which is what makes their sender wait. */
  readonly isFull: () => boolean;
}): (event: PeerEvent) => void {
  const { raft, link, calls, admission, installer, handOver, membership, isFull } = to;
  const onMessage = (from: NodeId, message: PeerMessage) => {
    if (message.type === 'raft') {
      const { message: inner } = message;
      const isDropped = inner.type === 'append' && inner.entries.length > 0 && isFull();
      if (!admission.admitted || isDropped) return;
      if (inner.type === 'propose') forwarded(inner.entries);
      raft.step(inner);
    } else if (message.type === 'request') {
      link.onRequest(from, message.id, message.body);
    } else {
      const { id, body } = message;
      if (admission.onResponse(from, id, body) || calls.onResponse(from, id, body)) return;
      link.onResponse(from, id, body);
    }
  };
  /** Its refusal follows from what `beforeChange` started. */
  const forwarded = (entries: readonly { readonly type: string; readonly data: Uint8Array }[]): void => {
    const [entry] = entries;
    if (entry?.type === 'config') handOver.beforeChange(decodeConfChange(entry.data).steps);
  };
  return (event) => {
    switch (event.type) {
      case 'message':
        onMessage(event.from, event.message);
        break;
      case 'snapshotReceived':
        if (!admission.admitted) break;
        installer.onReceived(event.message.snapshot.index, event.name);
        raft.step(event.message);
        break;
      case 'disconnected':
        if (event.reset) raft.leaderGone(event.peer);
        raft.reportUnreachable(event.peer);
        handOver.onChange();
        break;
      case 'connected':
        admission.ask(event.peer);
        break;
      case 'removed':
        membership.leave(`member ${event.by.toString(16)}`);
        break;
    }
  };
}
