/**
 * Whether a WebSocket may be opened from a page of this origin. Browsers let any page open one to any host, so the
 * server has to look: programs send no origin, the server's own pages the same host, all others must be listed.
 */
export function isOriginAllowed(
  origin: string | undefined,
  host: string | undefined,
  allowed: readonly string[],
): boolean {
  if (origin === undefined || allowed.includes('*') || allowed.includes(origin)) return true;
  if (host === undefined || !URL.canParse(origin)) return false;
  return new URL(origin).host === host.toLowerCase();
}
