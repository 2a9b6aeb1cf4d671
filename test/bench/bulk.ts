/** Loads many keys by transactions over JSON, a few at a time. */
import { Pool } from 'undici';

const PUTS_PER_TXN = 100;
const IN_FLIGHT = 8;

/** Key `n` as the wrk scripts name it, in base64. */
function benchKey(n: number): string {
  return Buffer.from(`bench/${String(n).padStart(10, '0')}`).toString('base64');
}

/** Puts the keys 0 to `keys` - 1 with values of `valueBytes`; returns puts a second. */
export async function bulkLoad(url: string, keys: number, valueBytes: number): Promise<number> {
  const pool = new Pool(url, { connections: IN_FLIGHT, pipelining: 1 });
  const value = Buffer.alloc(valueBytes, 'v').toString('base64');
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < keys) {
      const first = next;
      next += PUTS_PER_TXN;
      await sendTxn(pool, first, Math.min(next, keys), value);
    }
  };
  const start = performance.now();
  try {
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  } finally {
    await pool.destroy();
  }
  return keys / ((performance.now() - start) / 1000);
}

async function sendTxn(pool: Pool, first: number, end: number, value: string): Promise<void> {
  const puts: string[] = [];
  for (let n = first; n < end; n++) puts.push(`{"requestPut":{"key":"${benchKey(n)}","value":"${value}"}}`);
  const { statusCode, body } = await pool.request({
    method: 'POST',
    path: '/v3/kv/txn',
    headers: { 'content-type': 'application/json' },
    body: `{"success":[${puts.join(',')}]}`,
  });
  const text = await body.text();
  if (statusCode !== 200) throw new Error(`txn: HTTP ${statusCode}: ${text.slice(0, 200)}`);
}
