/** Runs a script of commands on a SimGroup and writes down what happens. Commands are explained in golden/README. */
import { strict as assert } from 'node:assert';
import type { ConfChangeStep, ConfState, Entry, Message, NodeId, Ready } from '../src/index.ts';
import { SimGroup } from './sim-group.ts';

const text = new TextDecoder();
const bytes = (s: string) => new TextEncoder().encode(s);
const id = (word: string | undefined): NodeId => BigInt(word as string);

export class GoldenScript {
  #group: SimGroup | undefined;
  #out: string[] = [];

  /** The output of one command, lines joined; "ok" when there is none. */
  run(line: string): string {
    this.#out = [];
    const [command, ...words] = line.split(' ');
    const handler = this.#commands[command as string];
    assert.ok(handler, `unknown command: ${line}`);
    handler(words);
    return this.#out.length === 0 ? 'ok' : this.#out.join('\n');
  }

  get #sim(): SimGroup {
    assert.ok(this.#group, 'the first command is "group"');
    return this.#group;
  }

  readonly #commands: Readonly<Record<string, (words: string[]) => void>> = {
    group: (words) => this.#open(words),
    add: ([node]) => this.#sim.add(id(node)),
    campaign: ([node]) => this.#sim.node(id(node)).campaign(),
    tick: ([node, count]) => this.#tick(id(node), Number(count ?? 1)),
    propose: ([node, ...datas]) => this.#say(this.#sim.node(id(node)).propose(datas.map(bytes))),
    conf: ([node, ...steps]) => this.#change(id(node), steps),
    read: ([node]) => this.#say({ accepted: this.#sim.read(id(node)) }),
    transfer: ([node, target]) => this.#say(this.#sim.node(id(node)).transferLeadership(id(target))),
    gone: ([peer, ...nodes]) => {
      for (const node of nodes) this.#sim.node(id(node)).leaderGone(id(peer));
    },
    take: ([node]) => this.#take(id(node)),
    persist: ([node]) => this.#persist(id(node)),
    apply: ([node]) => this.#apply(id(node)),
    deliver: (words) => this.#deliver(words),
    lose: (words) => this.#lose(words),
    settle: (words) => this.#settle(words),
    crash: ([node]) => this.#sim.crash(id(node)),
    start: ([node]) => this.#sim.start(id(node)),
    compact: ([node, keep]) => {
      this.#sim.flush(id(node));
      this.#sim.compact(id(node), Number(keep));
    },
    status: (nodes) => this.#status(nodes),
  };

  #open(words: string[]): void {
    const at = words.indexOf('learners');
    const voters = (at < 0 ? words : words.slice(0, at)).map(id);
    const learners = at < 0 ? [] : words.slice(at + 1).map(id);
    this.#group = new SimGroup({ seed: 1, voters, learners });
  }

  #tick(node: NodeId, count: number): void {
    for (; count > 0; count--) this.#sim.tick(node);
  }

  #say(result: { readonly accepted: boolean; readonly reason?: string }): void {
    if (!result.accepted) this.#out.push(`refused: ${result.reason ?? ''}`);
  }

  #change(node: NodeId, words: string[]): void {
    const steps: ConfChangeStep[] = [];
    for (let i = 0; i < words.length; i += 2) {
      steps.push({ type: words[i] as ConfChangeStep['type'], node: id(words[i + 1]) });
    }
    this.#say(this.#sim.node(node).proposeConfChange({ steps, context: new Uint8Array(0) }));
  }

  #take(node: NodeId): boolean {
    const reads = this.#sim.reads.length;
    if (!this.#sim.take(node)) return false;
    this.#out.push(...readyText(node, this.#sim.member(node).unpersisted.at(-1) as Ready));
    for (const { context, index } of this.#sim.reads.slice(reads)) {
      this.#out.push(`  read ${context} at ${index}`);
    }
    return true;
  }

  #persist(node: NodeId): boolean {
    const ready = this.#sim.member(node).unpersisted[0];
    if (!ready) return false;
    this.#sim.persist(node);
    if (ready.mustPersist || ready.messagesAfterPersist.length > 0) {
      this.#out.push(`${node} persisted ready ${ready.number}`);
      for (const m of ready.messagesAfterPersist) this.#out.push(`  send ${messageText(m)}`);
    }
    return true;
  }

  #apply(node: NodeId): boolean {
    const entry = this.#sim.member(node).toApply[0];
    if (!entry) return false;
    this.#sim.apply(node);
    const conf = entry.type === 'config' ? ` ${confText(this.#sim.node(node).confState)}` : '';
    this.#out.push(`${node} applied ${entryText(entry)}${conf}`);
    return true;
  }

  /** `words` name links as 1->2, or nothing for all. */
  #deliver(words: string[]): void {
    const { network } = this.#sim;
    for (const message of network.splice(0)) {
      if (words.length > 0 && !words.includes(link(message))) {
        network.push(message);
        continue;
      }
      this.#out.push(`deliver ${messageText(message)}`);
      this.#sim.deliver(message);
    }
  }

  #lose(words: string[]): void {
    const { network } = this.#sim;
    for (const message of network.splice(0)) {
      if (words.length > 0 && !words.includes(link(message))) network.push(message);
      else this.#sim.lose(message);
    }
  }

  /** Until nothing moves; what goes from or to the nodes named after "without" is lost. */
  #settle(words: string[]): void {
    const cut = new Set(words.slice(1));
    for (let busy = true; busy; ) {
      busy = false;
      for (const { id: node } of this.#sim.up) {
        while (this.#take(node) || this.#persist(node) || this.#apply(node)) busy = true;
      }
      for (const message of this.#sim.network.splice(0)) {
        busy = true;
        if (cut.has(String(message.from)) || cut.has(String(message.to))) this.#sim.lose(message);
        else this.#sim.deliver(message);
      }
    }
  }

  #status(nodes: string[]): void {
    const all = nodes.length > 0 ? nodes.map(id) : this.#sim.up.map((m) => m.id);
    for (const node of all) {
      const s = this.#sim.node(node).status();
      const log = `log ${s.firstIndex}..${s.lastIndex}/${s.lastTerm} stable ${s.stableIndex}`;
      this.#out.push(
        `${node} ${s.role} term ${s.term} leader ${s.leader} commit ${s.commit} applied ${s.applied} ${log}`,
      );
      for (const p of s.peers) {
        this.#out.push(`  ${p.id} ${p.state} match ${p.match} next ${p.next} inflight ${p.inflight}`);
      }
    }
  }
}

function link(m: Message): string {
  return `${m.from}->${m.to}`;
}

function readyText(node: NodeId, r: Ready): string[] {
  const out = [`${node} ready ${r.number}${r.mustPersist ? ' (to persist)' : ''}`];
  if (r.softState)
    out.push(`  now ${r.softState.role}, term ${r.softState.term}, leader ${r.softState.leader}`);
  if (r.hardState)
    out.push(`  hard term ${r.hardState.term} vote ${r.hardState.vote} commit ${r.hardState.commit}`);
  if (r.snapshot)
    out.push(`  install snapshot ${r.snapshot.index}/${r.snapshot.term} ${confText(r.snapshot.confState)}`);
  if (r.entries.length > 0) out.push(`  append ${r.entries.map(entryText).join(' ')}`);
  for (const m of r.messages) out.push(`  send ${messageText(m)}`);
  for (const m of r.messagesAfterPersist) out.push(`  then ${messageText(m)}`);
  if (r.committedEntries.length > 0) out.push(`  committed ${r.committedEntries.map(entryText).join(' ')}`);
  return out;
}

function entryText(e: Entry): string {
  return `${e.index}/${e.term}:${e.type === 'config' ? '<config>' : JSON.stringify(text.decode(e.data))}`;
}

function confText(c: ConfState): string {
  const list = (name: string, ids: readonly NodeId[]) => (ids.length > 0 ? ` ${name} ${ids.join(',')}` : '');
  return `{voters ${c.voters.join(',')}${list('outgoing', c.votersOutgoing)}${list('learners', c.learners)}${list('next', c.learnersNext)}}`;
}

function messageText(m: Message): string {
  const head = `${link(m)} ${m.type} t${m.term}`;
  switch (m.type) {
    case 'append': {
      const entries = m.entries.map(entryText).join(' ');
      return `${head} after ${m.prevIndex}/${m.prevTerm} commit ${m.commit}${entries && ` [${entries}]`}`;
    }
    case 'appendResponse':
      return m.reject
        ? `${head} reject ${m.index} hint ${m.hintIndex}/${m.hintTerm}`
        : `${head} have ${m.index}`;
    case 'heartbeat':
      return `${head} commit ${m.commit} round ${m.context}`;
    case 'heartbeatResponse':
      return `${head} round ${m.context}`;
    case 'vote':
    case 'preVote':
      return `${head} log ${m.lastIndex}/${m.lastTerm} commit ${m.commit}${m.transfer ? ' by order' : ''}`;
    case 'voteResponse':
    case 'preVoteResponse':
      return `${head} ${m.reject ? 'no' : 'yes'} commit ${m.commit}`;
    case 'snapshot':
      return `${head} ${m.snapshot.index}/${m.snapshot.term} ${confText(m.snapshot.confState)}`;
    case 'readIndex':
      return `${head} context ${m.context}`;
    case 'readIndexResponse':
      return `${head} context ${m.context} index ${m.index}`;
    case 'propose':
      return `${head} ${m.entries.map((e) => JSON.stringify(text.decode(e.data))).join(' ')}`;
    case 'proposeRefused':
      return `${head} ${m.reason}`;
    case 'transferLeader':
      return `${head} to ${m.target}`;
    default:
      return head;
  }
}
