import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { nothingLeftOut, type TreeItem } from '../../src/make/tree-item.ts'
import { writeImage } from '../../src/make/write-image.ts'
import { withTempDir } from '../library/index.ts'

/** Never ends by itself, and is never waited for. */
function* names(): Generator<TreeItem> {
  for (let i = 0; ; i++) {
    yield { path: `${i % 1000}`, entry: { mode: 0o100644, uid: 0, gid: 0, mtime: 0 } }
  }
}

test('an image ends when it is asked to, also while nothing but names come', async () => {
  await withTempDir(async (temp) => {
    const label = join(temp, 'image')
    const fd = openSync(label, 'w+')
    const signal = AbortSignal.timeout(20)
    const compressor = { depth: 1, compress: async () => undefined }
    try {
      const options = { name: 'gzip', blockSize: 4096, signal } as const
      const image = writeImage({ fd, label }, compressor, names, nothingLeftOut(), options)
      await expect(image).rejects.toThrow(/timeout/)
    } finally {
      closeSync(fd)
    }
  })
})
