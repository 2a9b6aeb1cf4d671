import type { ConnectionStatus } from '@muster/sdk/browser';
import { signal } from '@preact/signals';
import { now, revision, stale, status } from '../store.ts';
import { spanText } from '../time.ts';

type Theme = 'auto' | 'light' | 'dark';

const THEMES: readonly Theme[] = ['auto', 'light', 'dark'];
const theme = signal<Theme>(storedTheme());

function storedTheme(): Theme {
  const stored = localStorage.getItem('muster-theme');
  return THEMES.find((each) => each === stored) ?? 'auto';
}

function applyTheme(next: Theme): void {
  theme.value = next;
  localStorage.setItem('muster-theme', next);
  document.documentElement.dataset.theme = next;
}

document.documentElement.dataset.theme = theme.value;

function nextTheme(): void {
  applyTheme(THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length] ?? 'auto');
}

function connectionText(current: ConnectionStatus): {
  readonly tone: 'good' | 'busy' | 'bad';
  readonly text: string;
} {
  switch (current.state) {
    case 'open':
    case 'draining':
      return { tone: 'good', text: `Live · ${hostOf(current.endpoint)}` };
    case 'connecting':
      return { tone: 'busy', text: `Connecting to ${hostOf(current.endpoint)}` };
    case 'backoff':
      return { tone: 'bad', text: 'Connection lost, trying again' };
    case 'paused':
      return { tone: 'busy', text: 'Paused while hidden' };
    case 'idle':
      return { tone: 'busy', text: 'Starting' };
    case 'closed':
      return { tone: 'bad', text: 'Closed' };
  }
}

function hostOf(endpoint: string): string {
  return endpoint.replace(/^https?:\/\//, '');
}

export function Header() {
  const { tone, text } = connectionText(status.value);
  const behind =
    stale.value === false ? '' : `Shown as of ${spanText(now.value - stale.value.since.getTime())} ago`;
  return (
    <header class="bar">
      <a class="brand" href="/ui/">
        <img src="/ui/icon.svg" alt="" width="28" height="28" />
        <span>Muster</span>
      </a>
      <p class="pill" data-tone={tone} role="status">
        <span class="dot" aria-hidden="true" />
        {text}
      </p>
      <p class="behind">{behind}</p>
      <p class="revision">
        <span class="label">Revision</span>
        <output>{revision.value}</output>
      </p>
      <button type="button" class="quiet" onClick={nextTheme} aria-label={`Colours: ${theme.value}. Change`}>
        {theme.value === 'auto' ? '◐' : theme.value === 'light' ? '☀' : '☾'}
      </button>
    </header>
  );
}
