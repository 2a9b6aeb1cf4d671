import type { Command, MemberInfo } from '@muster/kv';

/** Tells the cluster this member's name and client URLs, once it can, when they are not what is known. */
export class Publisher {
  readonly #id: bigint;
  readonly #name: string;
  readonly #clientUrls: readonly string[];
  readonly #propose: (command: Command, done: (ok: boolean) => void) => void;
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

  /** Called each tick while there is a leader. */
  run(members: readonly MemberInfo[]): void {
    if (this.#state !== 'due') return;
    const known = members.find((member) => member.id === this.#id);
    if (!known) return;
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
