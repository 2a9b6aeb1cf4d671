/** Random changes of the members of a simulated cluster, and what must hold of them at every moment. */
import assert from 'node:assert/strict';
import type { Prng } from '@muster/base';
import { decodeRaftMeta, RAFT_META_KEY } from '../src/index.ts';
import type { SimCluster, SimMember } from './sim-cluster.ts';

/** Members at a time; more would only make the runs slow. */
const MEMBERS_MAX = 5;

type AtIndex = { readonly member: bigint; readonly text: string };

export class Changes {
  readonly #cluster: SimCluster;
  readonly #prng: Prng;
  /** Who led in each term. */
  readonly #leaders = new Map<number, bigint>();
  /** Configuration and members as of each applied index that was seen. */
  readonly #configurations = new Map<number, AtIndex>();
  /** Ids whose removal was acknowledged. */
  readonly #gone = new Set<bigint>();
  /** What was acknowledged. */
  added = 0;
  promoted = 0;
  removed = 0;

  constructor(cluster: SimCluster, prng: Prng) {
    this.#cluster = cluster;
    this.#prng = prng;
  }

  /** Members that have not heard of a removal of theirs. */
  current(): SimMember[] {
    return this.#cluster.members.filter((m) => !m.removed && !this.#gone.has(m.id));
  }

  /** Those whose addition took place without anybody hearing of it: as an operator who looks at the list. */
  startMissing(): void {
    for (const knows of this.#cluster.live()) {
      for (const { id } of knows.member?.machine.members() ?? []) {
        if (!this.#cluster.members.some((m) => m.id === id)) this.#cluster.join(id, knows);
      }
    }
  }

  step(via: SimMember): void {
    const kind = this.#prng.int(0, 15);
    if (kind <= 1) this.#add(via);
    else if (kind <= 4) this.#promote(via);
    else if (kind === 5) this.#remove(via);
    this.check();
  }

  /** One leader a term, and one configuration an index: for raft and for the table of members alike. */
  check(): void {
    for (const { id, member, disk } of this.#cluster.members) {
      if (!member) continue;
      const { role, term } = member.raftStatus();
      if (role === 'leader') {
        const other = this.#leaders.get(term) ?? id;
        assert.equal(id, other, `m${id} and m${other} lead in term ${term}`);
        this.#leaders.set(term, id);
      }
      const table = member.machine.members();
      const meta = disk.engine.get('meta', RAFT_META_KEY);
      if (!meta || table.length === 0) continue;
      const { index, confState } = decodeRaftMeta(meta);
      const ids = (learners: boolean) => table.filter((m) => m.isLearner === learners).map((m) => m.id);
      assert.deepEqual([confState.voters, confState.learners], [ids(false), ids(true)], `m${id} is torn`);
      const text = `${confState.voters} ${confState.learners} ${table.flatMap((m) => m.peerUrls)}`;
      const known = this.#configurations.get(index) ?? { member: id, text };
      assert.equal(text, known.text, `m${id} and m${known.member} differ at ${index}`);
      this.#configurations.set(index, known);
    }
  }

  #add(via: SimMember): void {
    if (this.current().length >= MEMBERS_MAX) return;
    const isLearner = this.#prng.chance(0.6);
    const peerUrls = [`http://127.0.0.1:${this.#prng.int(3000, 3020)}`];
    via.api.memberAdd({ peerUrls, isLearner }).then(
      ({ member }) => {
        this.added++;
        const knows = this.#cluster
          .live()
          .find((m) => m.member?.machine.members().some((x) => x.id === member.id));
        const joined = this.#cluster.members.some((m) => m.id === member.id);
        if (knows && !joined) this.#cluster.join(member.id, knows);
      },
      () => {},
    );
  }

  #promote(via: SimMember): void {
    const learner = via.member?.machine.members().find((m) => m.isLearner);
    if (!learner) return;
    via.api.memberPromote({ id: learner.id }).then(
      () => this.promoted++,
      () => {},
    );
  }

  #remove(via: SimMember): void {
    const members = via.member?.machine.members() ?? [];
    if (members.length < 3) return;
    const { id } = this.#prng.pick(members);
    via.api.memberRemove({ id }).then(
      () => {
        this.removed++;
        this.#gone.add(id);
      },
      () => {},
    );
  }
}
