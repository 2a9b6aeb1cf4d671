import {
  type Client,
  type ClusterView,
  type ConnectionStatus,
  connect,
  type Diff,
  type Instance,
  rawCodec,
  type Stale,
} from '@muster/sdk/browser';
import { computed, signal } from '@preact/signals';
import { type FeedDraft, type FeedLine, lineOfChange, linesOfDiff } from './feed.ts';
import { whoAsks } from './login.ts';

type ClusterState = NonNullable<ClusterView['state']>;

/** One instance on the page. Those that have gone stay a moment, so that one sees them go. */
export type Row = {
  readonly instance: Instance;
  readonly firstSeenMs: number;
  readonly gone: 'deregistered' | 'expired' | undefined;
  /** Changes with everything that deserves a highlight. */
  readonly flash: number;
};

const FEED_MAX = 200;
/** Lines that wait while the feed is held. */
const HELD_MAX = 200;
const GONE_SHOWN_MS = 5_000;
const RETRY_MS = 2_000;

/** The page's whole state. It is fed by one socket and changed nowhere else. */
export const status = signal<ConnectionStatus>({ state: 'idle' });
export const stale = signal<Stale>(false);
export const cluster = signal<ClusterState | undefined>(undefined);
export const revision = signal(0);
export const rows = signal<ReadonlyMap<string, Row>>(new Map());
export const loaded = signal(false);
export const feed = signal<readonly FeedLine[]>([]);
export const held = signal<readonly FeedLine[]>([]);
export const holding = signal(false);
export const filter = signal('');
/** Moves once a second: what shows an age depends on it. */
export const now = signal(Date.now());

/** Rows that pass the filter, by service, both in order of name. */
export const services = computed(() => {
  const wanted = filter.value.trim().toLowerCase();
  const byName = new Map<string, Row[]>();
  for (const [, row] of [...rows.value].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const { service, id, zone, status: state, address } = row.instance;
    const text = [service, id, zone, state, address].join(' ').toLowerCase();
    if (!text.includes(wanted)) continue;
    const list = byName.get(service);
    if (list) list.push(row);
    else byName.set(service, [row]);
  }
  return byName;
});

let nextLine = 1;

export function setHolding(hold: boolean): void {
  holding.value = hold;
  if (hold) return;
  feed.value = [...held.value, ...feed.value].slice(0, FEED_MAX);
  held.value = [];
}

function addLines(drafts: readonly FeedDraft[]): void {
  if (drafts.length === 0) return;
  const at = new Date();
  const lines = drafts.map((draft): FeedLine => ({ ...draft, id: nextLine++, at })).reverse();
  if (holding.value) held.value = [...lines, ...held.value].slice(0, HELD_MAX);
  else feed.value = [...lines, ...feed.value].slice(0, FEED_MAX);
}

function seeRevision(seen: number): void {
  if (seen > revision.value) revision.value = seen;
}

function identityOf(instance: Instance): string {
  return `${instance.service}/${instance.id}`;
}

/** When the registry does not say, an instance is as old as this page has known it. */
function startOf(instance: Instance): number {
  const started = Date.parse(instance.metadata.startedAt ?? '');
  return Number.isNaN(started) ? Date.now() : started;
}

function showDiff(diff: Diff, quiet: boolean): void {
  const next = new Map(rows.value);
  const show = (instance: Instance) => {
    const known = next.get(identityOf(instance));
    const firstSeenMs = known && !known.gone ? known.firstSeenMs : startOf(instance);
    next.set(identityOf(instance), { instance, firstSeenMs, gone: undefined, flash: quiet ? 0 : nextLine });
  };
  diff.added.forEach(show);
  for (const { after } of diff.changed) show(after);
  for (const { instance, reason } of diff.removed) {
    const row = next.get(identityOf(instance));
    if (!row) continue;
    const gone = { ...row, gone: reason === 'expired' ? reason : 'deregistered', flash: nextLine } as const;
    next.set(identityOf(instance), gone);
    setTimeout(() => forget(identityOf(instance), gone), GONE_SHOWN_MS);
  }
  rows.value = next;
  seeRevision(diff.revision);
  if (!quiet) addLines(linesOfDiff(diff));
}

function forget(identity: string, gone: Row): void {
  if (rows.value.get(identity) !== gone) return;
  const next = new Map(rows.value);
  next.delete(identity);
  rows.value = next;
}

/** The other members, so that the page outlives the one that served it. */
async function endpointsOf(origin: string, token: string | undefined): Promise<string[]> {
  try {
    const headers: HeadersInit = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(`${origin}/v1/members`, { headers, signal: AbortSignal.timeout(3_000) });
    const state = (await response.json()) as ClusterState;
    return [origin, ...state.members.flatMap((member) => member.clientUrls)];
  } catch {
    return [origin];
  }
}

/** Begins to follow the cluster behind `origin`. Everything rides on one socket. */
export async function follow(origin: string): Promise<Client> {
  const who = await whoAsks(origin);
  const endpoints = await endpointsOf(origin, who?.token);
  const auth = who === undefined ? {} : { auth: who.credentials };
  const muster = connect({ endpoints, clientName: 'dashboard', ...auth });
  muster.on('status', (next) => {
    status.value = next;
    if (next.state === 'open') seeRevision(next.revision);
  });
  setInterval(() => {
    now.value = Date.now();
    const current = muster.status();
    if (current.state === 'open') seeRevision(current.revision);
  }, 1_000);
  followCluster(muster);
  void followKeys(muster);
  await followServices(muster);
  return muster;
}

function followCluster(muster: Client): void {
  const view = muster.cluster();
  view.on('change', (state) => {
    const before = cluster.value;
    cluster.value = state;
    seeRevision(state.revision);
    if (before && before.leader !== state.leader) {
      const leader = state.members.find((member) => member.leader)?.name;
      const text = leader === undefined ? 'has no leader' : `is led by ${leader} in term ${state.term}`;
      addLines([{ kind: 'cluster', subject: 'cluster', text, revision: undefined }]);
    }
  });
}

async function followServices(muster: Client): Promise<void> {
  const view = await muster.services.discover('*');
  showDiff({ added: view.instances, changed: [], removed: [], revision: view.revision }, true);
  loaded.value = true;
  view.on('change', (diff) => showDiff(diff, false));
  view.on('stale', (next) => {
    stale.value = next;
  });
}

async function followKeys(muster: Client): Promise<void> {
  for (;;) {
    try {
      const watch = muster.watch('', { repair: false, codec: rawCodec });
      for await (const { revision: at, changes } of watch.batches()) {
        seeRevision(at);
        addLines(changes.flatMap((change) => lineOfChange(change, at) ?? []));
      }
    } catch (error) {
      addLines([{ kind: 'cluster', subject: 'feed', text: String(error), revision: undefined }]);
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}
