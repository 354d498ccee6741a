import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { expect, test } from 'vitest'
import { run, withTempDir } from '../../library/index.ts'

const ROUNDS = 15
const THREADS = 8

/** Threads that start at the same time, each of which collects its garbage once. */
const PROGRAM = `
import { isMainThread, Worker } from 'node:worker_threads'
import { collectGarbage } from './garbage.mjs'
if (!isMainThread) collectGarbage()
else for (let round = 0; round < ${ROUNDS}; round++) {
  const ends = Array.from({ length: ${THREADS} }, () => new Promise((resolve, reject) => {
    const thread = new Worker(new URL(import.meta.url))
    thread.on('error', reject)
    thread.on('exit', resolve)
  }))
  collectGarbage()
  await Promise.all(ends)
}
`

test('threads collect their garbage at the same time', async () => {
  await withTempDir(async (folder) => {
    await build({
      entryPoints: [fileURLToPath(new URL('../../../src/sys/process/garbage.ts', import.meta.url))],
      outfile: join(folder, 'garbage.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
    })
    writeFileSync(join(folder, 'threads.mjs'), PROGRAM)
    const result = await run(process.execPath, [join(folder, 'threads.mjs')], {
      allowFailure: true,
      timeout: 25_000,
    })
    expect(result).toMatchObject({ status: 0, stderr: '' })
  })
})
