import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { blobList, FsError, type ImageKind } from '../../../src/base/index.ts'
import { inspect } from '../../../src/cli/commands/inspect.ts'
import { registerKind } from '../../../src/kinds/kinds.ts'
import { TOY } from '../../kinds/toy-kind.ts'
import { withTempDir } from '../../library/index.ts'

/** A kind whose images can be described and not opened, for this test alone. */
const SIGN = 'CLOSED'.padEnd(512)
const CLOSED: ImageKind = {
  ...TOY,
  name: 'closed',
  probe: (head) => Buffer.from(head.subarray(0, SIGN.length)).toString('latin1') === SIGN,
  describe: () => ({ blockSize: 4096, bytesUsed: 0, metadataStart: 0, detail: '' }),
  summarize: () => ({
    kind: 'closed',
    compressor: 'none',
    blockSize: 4096,
    inodes: 1,
    bytesUsed: 0,
    hasXattrs: false,
  }),
  blobs: () => blobList([]),
  open: () => {
    throw new FsError('EIO', 'no decoder for it')
  },
}

test('an image that can be described and not opened is still described, and --usage fails', async () => {
  registerKind(CLOSED)
  const write = vi.spyOn(process.stdout, 'write').mockImplementation((...args: unknown[]) => {
    const done = args.at(-1)
    if (typeof done === 'function') done()
    return true
  })
  try {
    await withTempDir(async (folder) => {
      const image = join(folder, 'image')
      writeFileSync(image, SIGN)
      expect(await inspect(image, {})).toBe(0)
      expect(write.mock.calls.map(([text]) => text).join('')).toMatch(
        /^LAYER .*\n\S+ .*\n\nnot counted: no decoder for it\n$/m,
      )
      await expect(inspect(image, { usage: true })).rejects.toThrow('no decoder for it')
      await expect(inspect(image, { html: join(folder, 'page') })).rejects.toThrow('no decoder for it')
    })
  } finally {
    write.mockRestore()
  }
})
