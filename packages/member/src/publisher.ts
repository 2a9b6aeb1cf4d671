import type { Command, MemberInfo } from '@muster/kv';

/**
 * Tells the cluster this member's name and client URLs, once it can, when they are not what is known. As in etcd nobody is
 * served before that is done, so that who finds a member healthy finds it in the list of members too.
 */
export class Publisher {
  readonly #id: bigint;
  readonly #name: string;
  readonly #clientUrls: readonly string[];
  readonly #propose: (command: Command, done: (ok: boolean) => void) => void;
  #fresh = true;
  #state: 'due' | 'proposed' | 'known' = 'due';

  constructor(options: {
    readonly id: bigint;
    readonly name: string;
    readonly clientUrls: readonly string[];
    readonly propose: (command: Command, done: (ok: boolean) => void) => void;
  }) {
    this.#id = options.id;
    this.#name = options.name;
    this.#clientUrls = options.clientUrls;
    this.#propose = options.propose;
  }

  /** Not tried yet: at once, once there is a leader; later attempts wait for a tick. */
  get fresh(): boolean {
    return this.#fresh;
  }

  get known(): boolean {
    return this.#state === 'known';
  }

  /** Called while there is a leader. */
  run(members: readonly MemberInfo[]): void {
    if (this.#state !== 'due') return;
    const known = members.find((member) => member.id === this.#id);
    if (!known) return;
    this.#fresh = false;
    if (known.name === this.#name && known.clientUrls.join() === this.#clientUrls.join()) {
      this.#state = 'known';
      return;
    }
    this.#state = 'proposed';
    const command: Command = {
      type: 'memberAttributes',
      id: this.#id,
      name: this.#name,
      clientUrls: [...this.#clientUrls],
    };
    this.#propose(command, (ok) => {
      this.#state = ok ? 'known' : 'due';
    });
  }
}
