import { defineConfig } from 'vitest/config'

/**
 * Two suites. `unit` needs nothing but Node and is part of `npm run check`; `system` mounts for real and
 * compares with the kernel and other programs, one file at a time because mounts and page cache are shared.
 */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/system/**'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'system',
          include: ['test/system/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
