import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { atomfsFuse, needs, runProgram, titled, unmount, withTempDir } from '../library/index.ts'

const need = needs('root', 'fuse')
const SIZE = 4 << 20

test.skipIf(!need.ok)(
  titled('direct asynchronous writes are visible to reads through the page cache', need),
  { timeout: 120_000 },
  () =>
    withTempDir(async (folder) => {
      const [lower, upper, work, target] = ['l', 'u', 'w', 'm'].map((name) => join(folder, name))
      for (const path of [lower, upper, work, target]) mkdirSync(path ?? '')
      writeFileSync(join(lower ?? '', 'f'), Buffer.alloc(SIZE))
      const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
      await atomfsFuse(['overlay', '-o', options, target ?? ''], { runDir: join(folder, 'run') })
      try {
        const stale = await runProgram('programs/direct-write-main', [
          join(target ?? '', 'f'),
          '50',
          `${SIZE}`,
        ])
        expect(stale).toBe('0\n')
      } finally {
        await unmount(target ?? '')
      }
    }),
)
