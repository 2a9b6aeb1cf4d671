import { signal } from '@preact/signals';

export type Credentials = { readonly name: string; readonly password: string };

/** Set while the cluster wants to know who asks: takes an answer, and says what is wrong with it. */
export const ask = signal<((answer: Credentials) => Promise<string | undefined>) | undefined>(undefined);

const TIMEOUT_MS = 3_000;

/** Who looks at the cluster; `undefined` where nobody has to say so. Waits for whoever sits before the page. */
export async function whoAsks(
  origin: string,
): Promise<{ readonly credentials: Credentials; readonly token: string } | undefined> {
  if (!(await isNeeded(origin))) return undefined;
  return new Promise((resolve) => {
    ask.value = async (credentials) => {
      const response = await fetch(`${origin}/v1/auth/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(credentials),
      }).catch(() => undefined);
      if (response === undefined) return 'The server does not answer';
      const answer = (await response.json()) as { readonly token?: string; readonly detail?: string };
      if (answer.token === undefined) return answer.detail ?? `Refused with ${response.status}`;
      ask.value = undefined;
      resolve({ credentials, token: answer.token });
      return undefined;
    };
  });
}

async function isNeeded(origin: string): Promise<boolean> {
  try {
    const response = await fetch(`${origin}/v1/status`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return response.status === 401;
  } catch {
    return false;
  }
}
