import { svelte } from '@sveltejs/vite-plugin-svelte';
import { loadEnv } from 'vite';
import { defineConfig } from 'vitest/config';

export default defineConfig(({ mode }) => ({
  base: '/',
  plugins: [svelte()],
  build: {
    outDir: '../src/watchkeeper_server/page/static',
    emptyOutDir: true,
    target: 'es2022',
    // Every byte comes from files of our own: a strict Content-Security-Policy needs no exception for data: URLs.
    assetsInlineLimit: 0,
  },
  server: {
    // `npm run dev` shows a running server's data.
    proxy: { '/api': loadEnv(mode, '.', 'WATCHKEEPER_')['WATCHKEEPER_URL'] ?? 'http://127.0.0.1:7070' },
  },
  test: { include: ['src/**/*.test.ts'] },
}));
