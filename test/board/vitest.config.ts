/**
 * Holds a board made of files to the contract, through the UIO transport and interrupts:
 * `npx vitest run -c test/board/vitest.config.ts`. One engine has one user, so files run one after another.
 */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/contract/{random,driver,start,attention}.test.ts'],
    // A page of memory cannot ignore a write to a register that is the device's, so protocol.test.ts, which does that, is not for
    // it; and there is one engine, so nothing that has two devices at once.
    testNamePattern: /^(?!.*(each device its own window|larger shapes))/,
    globalSetup: 'test/board/setup.ts',
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    fileParallelism: false,
  },
});
