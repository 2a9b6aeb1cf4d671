/** ETags and the preconditions that are made of them (RFC 9110 sections 8.8.3 and 13.1). */
import { createHash, type Hash } from 'node:crypto';
import { KvError } from '@muster/contract';

/** Of one key: strong, its modRevision. */
export function keyEtag(modRevision: number): string {
  return `"${modRevision}"`;
}

/** Collects the (key, modRevision) pairs of a selection; the tag is weak, for the encoding of the answer may differ. */
export class SelectionEtag {
  readonly #hash: Hash = createHash('sha1');

  add(key: Uint8Array, modRevision: number): void {
    this.#hash.update(key).update(`\0${modRevision}\n`);
  }

  text(): string {
    return `W/"${this.#hash.digest('base64url').slice(0, 20)}"`;
  }
}

/** What an If-Match or If-None-Match header holds. */
export type EtagList = '*' | readonly { readonly tag: string; readonly weak: boolean }[];

const TAG = /^\s*(W\/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)/;

/** `undefined` when the header is absent, BAD_REQUEST when it is not a list of ETags. */
export function parseEtags(header: string | undefined, name: string): EtagList | undefined {
  if (header === undefined) return undefined;
  if (header.trim() === '*') return '*';
  const tags: { tag: string; weak: boolean }[] = [];
  for (let rest = header; rest.trim() !== ''; ) {
    const match = TAG.exec(rest);
    if (!match) {
      throw new KvError('BAD_REQUEST', {
        detail: `${name}: ${JSON.stringify(header)} is not a list of ETags; "42" in quotes, or * expected`,
        extra: { errors: [{ in: 'header', pointer: `/${name}`, expected: 'ETags in quotes, or *' }] },
      });
    }
    tags.push({ tag: match[2] as string, weak: match[1] !== undefined });
    rest = rest.slice(match[0].length);
  }
  return tags;
}

/** Weak comparison, as If-None-Match wants it; `etag` undefined means that nothing is there. */
export function matchesNone(list: EtagList, etag: string | undefined): boolean {
  if (list === '*') return etag === undefined;
  const bare = etag?.replace(/^W\//, '');
  return !list.some(({ tag }) => `"${tag}"` === bare);
}

/** The revisions that a strong If-Match names; tags that are no revision can match nothing and are left out. */
export function matchRevisions(list: Exclude<EtagList, '*'>): number[] {
  return list
    .filter(({ tag, weak }) => !weak && /^[1-9][0-9]{0,15}$/.test(tag))
    .map(({ tag }) => Number(tag));
}

/** What `Prefer` asks for (RFC 7240); unknown preferences are ignored. */
export function parsePrefer(header: string | undefined): {
  readonly waitSeconds?: number;
  readonly minimal: boolean;
} {
  let waitSeconds: number | undefined;
  let minimal = false;
  for (const part of (header ?? '').split(/[,;]/)) {
    const [name, value] = part.split('=', 2).map((s) => s.trim().toLowerCase());
    if (name === 'wait' && value !== undefined && /^"?[0-9]{1,9}"?$/.test(value)) {
      waitSeconds = Number(value.replaceAll('"', ''));
    }
    if (name === 'return' && value === 'minimal') minimal = true;
  }
  return waitSeconds === undefined ? { minimal } : { waitSeconds, minimal };
}
