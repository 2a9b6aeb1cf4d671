import type { Timer } from '@muster/base';
import type { Member, MemberLog } from '@muster/member';

/** How often it is looked whether the successor is still there. */
const LOOK_MS = 20;

/**
 * Makes another voter lead, if this member does: the one furthest along among those connected. Resolves when another
 * leads, or after `timeoutMs`; with nobody to take over, at once.
 */
export function handOver(member: Member, timeoutMs: number, log: MemberLog): Promise<void> {
  const target = member.isLeader ? successor(member) : undefined;
  if (target === undefined) return Promise.resolve();
  log('info', 'handing leadership over', { to: target.toString(16) });
  return new Promise((resolve) => {
    let timer = watch();
    const finish = (leads: boolean): void => {
      member.clock.cancel(timer);
      if (!leads) log('warn', 'leadership was not handed over', { to: target.toString(16) });
      resolve();
    };
    member.transferLeadership(target, timeoutMs, finish);

    /** One that goes away itself meanwhile is not waited for. */
    function watch(): Timer {
      return member.clock.schedule(LOOK_MS, () => {
        if (member.connectedForMs(target as bigint) === undefined) finish(false);
        else timer = watch();
      });
    }
  });
}

function successor(member: Member): bigint | undefined {
  const { peers, confState } = member.raftStatus();
  const candidates = peers
    .filter(({ id }) => id !== member.id && confState.voters.includes(id))
    .filter(({ id }) => member.connectedForMs(id) !== undefined);
  return candidates.sort((a, b) => b.match - a.match)[0]?.id;
}
