import { cluster } from '../store.ts';

/** Rows kept free until the members are known, so that nothing moves when they come. */
const EXPECTED = 3;

export function Members() {
  const state = cluster.value;
  const members = state?.members ?? [];
  const empty = Math.max(0, EXPECTED - members.length);
  return (
    <section class="card" aria-labelledby="members-title">
      <div class="card-head">
        <h2 id="members-title">Members</h2>
        <span class="muted">{state ? `term ${state.term}` : ''}</span>
      </div>
      <ul class="members">
        {members.map((member) => (
          <li key={member.id} data-health={member.health} data-leader={member.leader}>
            <span class="dot" aria-hidden="true" />
            <span class="name">{member.name === '' ? member.id : member.name}</span>
            <span class="role">{member.leader ? 'leader' : member.learner ? 'learner' : 'follower'}</span>
            <span class="address">{member.clientUrls[0]?.replace(/^https?:\/\//, '') ?? ''}</span>
            <span class="state">{member.health === 'up' ? 'up' : member.health}</span>
          </li>
        ))}
        {state === undefined &&
          Array.from({ length: empty }, (_, i) => <li key={`empty-${i}`} class="empty" />)}
      </ul>
    </section>
  );
}
