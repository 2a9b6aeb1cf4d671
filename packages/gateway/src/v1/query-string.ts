import { KvError } from '@muster/contract';

/** Percent-decodes text out of a URL; what is not valid there is refused, never guessed at. */
export function percentDecode(text: string, where: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw new KvError('BAD_REQUEST', {
      detail:
        `${where}: bad percent-encoding; each % must begin two hex digits and all of it be UTF-8 ` +
        `(for other bytes there is keyB64)`,
      extra: { errors: [{ in: where.split(' ')[0], pointer: '', expected: 'percent-encoded UTF-8' }] },
    });
  }
}

/** Path and raw query of an absolute URL, neither of them decoded. */
export function splitUrl(url: string): { readonly path: string; readonly query: string } {
  const start = url.indexOf('/', url.indexOf('://') + 3);
  const hash = url.indexOf('#', start);
  const end = hash === -1 ? url.length : hash;
  const question = url.indexOf('?', start);
  if (question === -1 || question > end) return { path: url.slice(start, end), query: '' };
  return { path: url.slice(start, question), query: url.slice(question + 1, end) };
}

/** Names and values of a query, in order, decoded strictly; `+` is a space. */
export function parseQuery(query: string): [string, string][] {
  const out: [string, string][] = [];
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const [name, value] = equals === -1 ? [pair, ''] : [pair.slice(0, equals), pair.slice(equals + 1)];
    const decode = (text: string): string => percentDecode(text.replaceAll('+', ' '), `query ${name}`);
    out.push([decode(name), decode(value)]);
  }
  return out;
}
