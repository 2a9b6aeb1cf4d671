import type { KvEvent, KvItem, ServiceEvent, ServiceItem } from '@muster/contract';
import { wireKeyIdentity } from './entry.ts';
import type { WireShape } from './watch-session.ts';

/** How keys come over a watch. */
export const KV_SHAPE: WireShape<KvItem, KvEvent> = {
  identity: wireKeyIdentity,
  modRevision: (item) => item.modRevision,
  event(event) {
    const prev = event.prev && { prev: event.prev };
    return event.type === 'put'
      ? { type: 'put', identity: wireKeyIdentity(event.entry), item: event.entry, ...prev }
      : { type: 'delete', identity: wireKeyIdentity(event), modRevision: event.modRevision, ...prev };
  },
};

/** How instances come over a watch. Neither part of the identity may contain a slash. */
export const SERVICE_SHAPE: WireShape<ServiceItem, ServiceEvent> = {
  identity: (item) => `${item.service}/${item.id}`,
  modRevision: (item) => item.modRevision,
  event(event) {
    const prev = event.prev && { prev: event.prev };
    if (event.type === 'put') {
      const { instance } = event;
      return { type: 'put', identity: `${instance.service}/${instance.id}`, item: instance, ...prev };
    }
    return {
      type: 'delete',
      identity: `${event.service}/${event.id}`,
      modRevision: event.modRevision,
      ...(event.filtered && { filtered: true }),
      ...prev,
    };
  },
};
