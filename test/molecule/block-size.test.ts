import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FsError, type ImageKind, MAX_BLOCK_SIZE } from '../../src/base/index.ts'
import { registerKind } from '../../src/kinds/kinds.ts'
import { openImage } from '../../src/molecule/image-file.ts'
import { TOY } from '../kinds/toy-kind.ts'

const MAGIC = 'blocks of two MiB'

const HUGE: ImageKind = {
  ...TOY,
  name: 'huge',
  title: 'a huge image',
  probe: (head) => Buffer.from(head).toString('latin1').startsWith(MAGIC),
  describe: () => ({ bytesUsed: 4096, blockSize: 2 * MAX_BLOCK_SIZE, metadataStart: 0, detail: '' }),
}
registerKind(HUGE)

test('an image whose blocks are larger than a slot of the cache is refused with their size', () => {
  const folder = mkdtempSync(join(tmpdir(), 'atomfs-huge-'))
  const path = join(folder, 'image')
  try {
    writeFileSync(path, Buffer.concat([Buffer.from(MAGIC), Buffer.alloc(4096)]))
    const open = () => openImage({ path, label: path })
    expect(open).toThrow(FsError)
    expect(open).toThrow(/a huge image with blocks of 2097152 bytes, at most 1048576 are possible$/)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
