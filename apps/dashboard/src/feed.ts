import type { Change, Diff, Instance, RawValue } from '@muster/sdk/browser';

/** What one line of the feed is about; it chooses the colour. */
export type FeedKind = 'arrived' | 'changed' | 'draining' | 'gone' | 'put' | 'delete' | 'cluster';

export type FeedLine = {
  readonly id: number;
  readonly at: Date;
  readonly kind: FeedKind;
  readonly subject: string;
  readonly text: string;
  readonly revision: number | undefined;
};

export type FeedDraft = Omit<FeedLine, 'id' | 'at'>;

/** Characters of a value that are shown. */
const PREVIEW_MAX = 80;
/** Instances have lines of their own, better than those of the keys that they are stored under. */
const INSTANCE_KEY = /^\/muster\/[^/]+\/services\//;

/** What happened to instances, in words. */
export function linesOfDiff(diff: Diff): FeedDraft[] {
  const { revision } = diff;
  const lines: FeedDraft[] = [];
  for (const instance of diff.added) {
    lines.push({
      kind: 'arrived',
      subject: subjectOf(instance),
      text: `registered${placeOf(instance)}`,
      revision,
    });
  }
  for (const { before, after } of diff.changed) {
    const draining = after.status === 'draining' && before.status !== 'draining';
    const kind: FeedKind = draining || after.suspect ? 'draining' : 'changed';
    lines.push({ kind, subject: subjectOf(after), text: differenceOf(before, after), revision });
  }
  for (const { instance, reason } of diff.removed) {
    const text =
      reason === 'expired'
        ? 'is gone, without having drained'
        : reason === 'filtered'
          ? 'left the view'
          : 'deregistered';
    lines.push({ kind: 'gone', subject: subjectOf(instance), text, revision });
  }
  return lines;
}

/** What happened to a key; `undefined` where there is a better line for it. */
export function lineOfChange(change: Change<RawValue>, revision: number): FeedDraft | undefined {
  if (change.type === 'synced') return undefined;
  const key = change.type === 'put' ? change.entry.key : change.key;
  if (INSTANCE_KEY.test(key)) return undefined;
  if (change.type === 'delete') return { kind: 'delete', subject: key, text: 'deleted', revision };
  return { kind: 'put', subject: key, text: previewOf(change.entry.value), revision };
}

function previewOf(value: RawValue): string {
  if (typeof value !== 'string') return `${value.length} bytes`;
  const line = value.replace(/\s+/g, ' ');
  return line.length > PREVIEW_MAX ? `= ${line.slice(0, PREVIEW_MAX)}…` : `= ${line}`;
}

function subjectOf(instance: Instance): string {
  return `${instance.service}/${instance.id}`;
}

/** Where an instance can be reached, as short as it can be said. */
export function addressOf(instance: Instance): string {
  if (instance.address !== undefined)
    return instance.port ? `${instance.address}:${instance.port}` : instance.address;
  return instance.url ?? '';
}

function placeOf(instance: Instance): string {
  const address = addressOf(instance);
  return address === '' ? '' : ` at ${address}`;
}

const COMPARED = ['status', 'health', 'url', 'address', 'port', 'version', 'zone', 'weight'] as const;

function differenceOf(before: Instance, after: Instance): string {
  if (after.suspect && !before.suspect) return 'suspect: its whole service went silent';
  const parts = COMPARED.filter((name) => before[name] !== after[name]).map((name) =>
    name === 'status' || name === 'health'
      ? `${after[name]}`
      : `${name} ${before[name] ?? '–'} → ${after[name] ?? '–'}`,
  );
  return parts.length > 0 ? parts.join(', ') : 'renewed its registration';
}
