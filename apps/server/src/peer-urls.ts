import { lookup } from 'node:dns/promises';

export function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, i) => text === b[i]);
}

/** Addresses in place of host names; what cannot be resolved stays as it is, and so does localhost. */
export async function resolved(urls: readonly string[]): Promise<string[]> {
  const one = async (url: string): Promise<string> => {
    const { hostname, port, protocol } = new URL(url);
    if (hostname === 'localhost' || /^[\d.]+$|^\[/.test(hostname)) return url;
    try {
      const { address, family } = await lookup(hostname);
      return `${protocol}//${family === 6 ? `[${address}]` : address}:${port === '' ? '80' : port}`;
    } catch {
      return url;
    }
  };
  return (await Promise.all(urls.map(one))).sort();
}

/** Whether two lists name the same places, perhaps by host names on one side and by addresses on the other. */
export async function sameUrls(a: readonly string[], b: readonly string[]): Promise<boolean> {
  if (sameTexts([...a].sort(), [...b].sort())) return true;
  const [one, other] = await Promise.all([resolved(a), resolved(b)]);
  return sameTexts(one, other);
}
