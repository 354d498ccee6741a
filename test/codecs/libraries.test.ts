import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { openLibraryDeeply } from '../../src/sys/ffi/deep-library.ts'
import { run } from '../library/programs/process.ts'
import { bundleProgram } from '../library/trees/walk-child.ts'

const LIBRARY = 'liblz4.so.1'
const isThere = openLibraryDeeply(LIBRARY) !== undefined
const reason = isThere ? '' : ` (skipped: needs ${LIBRARY})`

test.skipIf(!isThere)(
  `a library of a decoder stays loaded when the thread that opened it has ended${reason}`,
  async () => {
    const program = await bundleProgram(fileURLToPath(new URL('libraries-main.ts', import.meta.url)))
    const { stdout } = await run(process.execPath, [program, LIBRARY], { timeout: 20_000 })
    expect(JSON.parse(stdout)).toEqual({ status: 0, before: false, after: true })
  },
)
