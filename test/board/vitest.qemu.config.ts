/** The project in a QEMU ZCU102: `npx vitest run -c test/board/vitest.qemu.config.ts` (docs/board-qemu.md). */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/board/qemu.ts'],
    // An emulated CPU on a busy machine: each step is bounded where it waits.
    testTimeout: 300_000,
    hookTimeout: 600_000,
    bail: 1,
  },
});
