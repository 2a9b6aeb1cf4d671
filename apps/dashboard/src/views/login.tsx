import { signal } from '@preact/signals';
import { ask } from '../login.ts';

const refusal = signal('');

async function submit(event: SubmitEvent): Promise<void> {
  event.preventDefault();
  const data = new FormData(event.target as HTMLFormElement);
  const answer = { name: String(data.get('name')), password: String(data.get('password')) };
  refusal.value = (await ask.value?.(answer)) ?? '';
}

/** Nothing, unless the cluster wants to know who asks. */
export function Login() {
  if (ask.value === undefined) return null;
  return (
    <dialog open class="login" aria-labelledby="login-title">
      <form onSubmit={submit}>
        <h2 id="login-title">Log in</h2>
        <label>
          User <input name="name" autocomplete="username" required />
        </label>
        <label>
          Password <input name="password" type="password" autocomplete="current-password" />
        </label>
        <button type="submit">Log in</button>
        <p role="alert">{refusal}</p>
      </form>
    </dialog>
  );
}
