import { render } from 'preact';
import { follow } from './store.ts';
import { Feed } from './views/feed.tsx';
import { Header } from './views/header.tsx';
import { Login } from './views/login.tsx';
import { Members } from './views/members.tsx';
import { Services } from './views/services.tsx';

function App() {
  return (
    <>
      <Header />
      <Login />
      <main>
        <Services />
        <aside>
          <Members />
          <Feed />
        </aside>
      </main>
    </>
  );
}

/** `/` puts the cursor into the filter, as in most tools that have one. */
addEventListener('keydown', (event) => {
  const typing = event.target instanceof HTMLInputElement;
  if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  document.getElementById('filter')?.focus();
});

const root = document.getElementById('app');
if (root) render(<App />, root);
void follow(location.origin);
