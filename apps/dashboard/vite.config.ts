import { defineConfig } from 'vite';

export default defineConfig({
  base: '/ui/',
  build: { target: 'es2023', outDir: 'dist', emptyOutDir: true, assetsInlineLimit: 0 },
  // While developing, a member's API is behind the same origin as the page.
  server: { proxy: { '/v1': { target: 'http://127.0.0.1:2379', ws: true } } },
});
