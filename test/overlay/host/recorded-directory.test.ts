import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { RecordedDirectoryLayer } from '../../../overlay/host/recorded-directory.ts'
import { ROOT_NODE_ID } from '../../../src/base/index.ts'
import { withTempDir } from '../../library/index.ts'
import { setXattr } from '../../library/programs/native.ts'
import { failsWith, withTree } from '../upper/support/tree-scene.ts'

const RECORD = 'user.containers.override_stat'

/** A symbolic link as it is written down, of some bytes. */
function makeLink(path: string, size: number): void {
  writeFileSync(path, 'target')
  truncateSync(path, size)
  setXattr(Buffer.from(path), RECORD, Buffer.from('0:0:0777:symlink'))
}

/** More than PATH_MAX; more than memory; more than an array can have. */
const SIZES = [0, 4097, 2 ** 31, 60 * 2 ** 30]

test('a recorded link whose file holds no valid target is EIO, and allocates no memory for its size', async () => {
  await withTempDir((folder) => {
    const root = join(folder, 'l')
    mkdirSync(root)
    for (const size of [...SIZES, 6]) makeLink(join(root, `${size}`), size)
    const layer = new RecordedDirectoryLayer(root, RECORD)
    try {
      const before = process.resourceUsage().maxRSS
      for (const size of SIZES) {
        expect(() => layer.readlink(layer.lookup(layer.root, `${size}`)!.ref)).toThrow(failsWith('EIO'))
      }
      expect(process.resourceUsage().maxRSS - before).toBeLessThan(100 << 10)
      expect(Buffer.from(layer.readlink(layer.lookup(layer.root, '6')!.ref)).toString()).toBe('target')
    } finally {
      layer.close()
    }
  })
})

test('a recorded link without a valid target is EIO in an upper directory too', () => {
  withTree(
    ['d/'],
    (scene) => {
      for (const size of SIZES) {
        makeLink(scene.upper(`${size}`), size)
        const { nodeId } = scene.tree.lookup(ROOT_NODE_ID, `${size}`)!
        expect(() => scene.tree.readlink(nodeId)).toThrow(failsWith('EIO'))
      }
      makeLink(scene.upper('good'), 6)
      const { nodeId } = scene.tree.lookup(ROOT_NODE_ID, 'good')!
      expect(Buffer.from(scene.tree.readlink(nodeId)).toString()).toBe('target')
    },
    { owners: 'override' },
  )
})
