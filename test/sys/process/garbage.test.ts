import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { expect, test } from 'vitest'
import { type RunResult, run, withTempDir } from '../../library/index.ts'

/** Threads that start at the same time, each of which collects its garbage once by a function of `garbage.ts`. */
const threads = (collect: string, rounds: number, count: number): string => `
import { isMainThread, Worker } from 'node:worker_threads'
import { ${collect} } from './garbage.mjs'
if (!isMainThread) ${collect}()
else for (let round = 0; round < ${rounds}; round++) {
  const ends = Array.from({ length: ${count} }, () => new Promise((resolve, reject) => {
    const thread = new Worker(new URL(import.meta.url))
    thread.on('error', reject)
    thread.on('exit', resolve)
  }))
  ${collect}()
  await Promise.all(ends)
}
`

/** One object in a thousand lives on: each keeps a page of the heap. Says how many MiB of it are not used. */
const HOLES = `
import { getHeapSpaceStatistics } from 'node:v8'
import { packHeap } from './garbage.mjs'
const unused = () => getHeapSpaceStatistics().reduce((sum, s) => sum + s.physical_space_size - s.space_used_size, 0) >> 20
const all = Array.from({ length: 500_000 }, (_, i) => ({ i, next: { i } }))
globalThis.kept = all.filter((_, i) => i % 1000 === 0)
all.length = 0
packHeap()
process.stdout.write(String(unused()))
`

async function runProgram(program: string): Promise<RunResult> {
  return await withTempDir(async (folder) => {
    await build({
      entryPoints: [fileURLToPath(new URL('../../../src/sys/process/garbage.ts', import.meta.url))],
      outfile: join(folder, 'garbage.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
    })
    writeFileSync(join(folder, 'program.mjs'), program)
    return await run(process.execPath, [join(folder, 'program.mjs')], { allowFailure: true, timeout: 25_000 })
  })
}

test('threads collect their garbage at the same time', async () => {
  expect(await runProgram(threads('collectGarbage', 15, 8))).toMatchObject({ status: 0, stderr: '' })
  expect(await runProgram(threads('packHeap', 2, 4))).toMatchObject({ status: 0, stderr: '' })
})

test('a packed heap gives back the pages that hold little', async () => {
  expect(await runProgram(HOLES)).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^[01]$/),
    stderr: '',
  })
})
