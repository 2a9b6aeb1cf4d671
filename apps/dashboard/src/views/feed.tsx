import type { FeedKind } from '../feed.ts';
import { feed, held, holding, setHolding } from '../store.ts';
import { clockText } from '../time.ts';

const SIGNS: Readonly<Record<FeedKind, string>> = {
  arrived: '+',
  changed: '~',
  draining: '↓',
  gone: '−',
  put: '=',
  delete: '×',
  cluster: '★',
};

export function Feed() {
  const lines = feed.value;
  return (
    <section class="card feed" aria-labelledby="feed-title">
      <div class="card-head">
        <h2 id="feed-title">Changes</h2>
        <span class="muted">{holding.value ? `held, ${held.value.length} waiting` : ''}</span>
        <button
          type="button"
          class="quiet"
          aria-pressed={holding.value}
          onClick={() => setHolding(!holding.value)}
        >
          {holding.value ? 'Go on' : 'Hold'}
        </button>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <div class="lines" role="log" aria-label="Changes, newest first" tabIndex={0}>
        <ol>
          {lines.map((line) => (
            <li key={line.id} data-kind={line.kind}>
              <span class="sign" aria-hidden="true">
                {SIGNS[line.kind]}
              </span>
              <span class="what">
                <b>{line.subject}</b> {line.text}
              </span>
              <span class="when">
                <time dateTime={line.at.toISOString()}>{clockText(line.at)}</time>
                {line.revision === undefined ? '' : ` · ${line.revision}`}
              </span>
            </li>
          ))}
          {lines.length === 0 && <li class="quiet-line">Nothing has changed since this page was opened.</li>}
        </ol>
      </div>
    </section>
  );
}
