/** Runs `count` workers at once until one fails or all are done. */
export async function inParallel(count: number, work: (worker: number) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, worker) => work(worker)));
}
