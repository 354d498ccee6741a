import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { run } from '../../library/index.ts'
import { bundleProgram } from '../../library/trees/walk-child.ts'

describe('takeVariable', () => {
  test('gives the bytes of a variable once, and leaves nothing of them in the environment', async () => {
    const program = await bundleProgram(fileURLToPath(new URL('secret-variable-main.ts', import.meta.url)))
    // Bytes that are no text.
    const script = `SECRET="$(printf 'pass\\377phrase')" exec "$0" "$@"`
    const { stdout } = await run('sh', ['-c', script, process.execPath, program])
    expect(JSON.parse(stdout)).toEqual({
      ...{ before: true, taken: 'pass\xffphrase', again: true, absent: true },
      ...{ inProcess: false, left: false, others: true },
    })
  })
})
