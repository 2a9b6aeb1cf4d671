import { deferred } from '@muster/base';
import type { Member } from '@muster/member';

/** How long one attempt waits; each costs nothing while there is no leader. */
const ATTEMPT_MS = 1000;
const PAUSE_MS = 20;

/** Resolves once this member can answer a linearizable read: there is a leader, and it is heard here. */
export function untilServing(member: Member, isStopping: () => boolean): Promise<void> {
  const done = deferred<void>();
  const attempt = (): void => {
    if (isStopping()) return done.reject(new Error('stopped before the member could serve'));
    member.read(ATTEMPT_MS, (error) => {
      if (error === undefined) done.resolve();
      // One that starts over or was removed refuses at once.
      else if (error.code === 'STOPPED') member.clock.schedule(PAUSE_MS, attempt);
      else member.clock.defer(attempt);
    });
  };
  attempt();
  return done.promise;
}
