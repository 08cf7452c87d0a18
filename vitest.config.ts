import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // The emulator's thread and the tests share few cores: files in parallel processes, not threads,
    // so that each has its own copy of the native library.
    pool: 'forks',
    // Half of a test file's time is waiting; by default one core would be left to do it.
    maxWorkers: '100%',
  },
});
