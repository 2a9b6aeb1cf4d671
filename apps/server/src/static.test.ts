import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadStatic } from './static.ts';

describe('static files', () => {
  it('are served below /ui/, the start page at /ui/ and /, hashed names for ever', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'muster-static-'));
    try {
      await mkdir(join(directory, 'assets'));
      await writeFile(join(directory, 'index.html'), '<p>start');
      await writeFile(join(directory, 'assets', 'main-Ab3dE_9x.js'), 'x');
      const file = await loadStatic(directory);
      assert.equal(new TextDecoder().decode(file('/')?.body), '<p>start');
      assert.equal(file('/ui/'), file('/'));
      assert.equal(file('/ui'), file('/'));
      assert.equal(file('/')?.cacheControl, 'no-cache');
      assert.equal(file('/')?.contentType, 'text/html; charset=utf-8');
      const script = file('/ui/assets/main-Ab3dE_9x.js');
      assert.equal(script?.contentType, 'text/javascript; charset=utf-8');
      assert.match(script?.cacheControl ?? '', /immutable/);
      for (const path of [
        '/none',
        '/ui/none',
        '/ui/../index.html',
        '/ui/assets',
        '/ui//index.html',
        '/index.html',
      ])
        assert.equal(file(path), undefined);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('say how to build the dashboard where there is none', async () => {
    const file = await loadStatic('/nonexistent/dist');
    assert.match(new TextDecoder().decode(file('/')?.body), /pnpm --filter @muster\/dashboard build/);
    assert.equal(file('/ui/index.html'), undefined);
  });
});
