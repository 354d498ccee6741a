import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { needs, run, titled } from '../../library/index.ts'
import { bundleProgram } from '../../library/trees/walk-child.ts'

const need = needs('root')

describe.skipIf(!need.ok)(titled('withoutRoot', need), () => {
  test('takes the root directory from the thread that calls it, and from none that it started before', async () => {
    const program = await bundleProgram(fileURLToPath(new URL('without-root-main.ts', import.meta.url)))
    const { stdout } = await run(process.execPath, [program], { timeout: 60_000 })
    const all = (value: unknown): unknown[] => [value, value, value, value]
    expect(JSON.parse(stdout)).toEqual({ within: all(false), after: all(true), misses: all(0) })
  })
})
