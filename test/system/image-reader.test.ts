import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { expect, test } from 'vitest'
import { encodePath } from '../../src/base/index.ts'
import { openSquashfs } from '../../src/library/squashfs.ts'
import {
  appendVerity,
  buildSourceTree,
  mksquashfs,
  needs,
  type TreeEntry,
  titled,
  walkTree,
  withTempDir,
} from '../library/index.ts'

/** What the reader says of an image, in the words of `walkTree`. */
async function walkImage(image: string, rootHash: string): Promise<Partial<TreeEntry>[]> {
  const reader = openSquashfs(image, { rootHash })
  try {
    const found: Partial<TreeEntry>[] = []
    for await (const entry of reader.entries()) {
      const { mode, uid, gid, size, mtime, nlink } = entry.stat
      const hash = createHash('sha256')
      if (entry.type === 'file') await pipeline(reader.readStream(entry.path), hash)
      found.push({
        path: encodePath(entry.path.slice(1)).toString('latin1'),
        mode: (mode & 0o7777).toString(8),
        ...{ uid, gid, mtime, nlink },
        ...(entry.type === 'directory' ? {} : { size }),
        ...(entry.type === 'file' ? { sha256: hash.digest('hex') } : {}),
        ...xattrsOf(reader.xattrs(entry.path)),
        ...(entry.type === 'symlink'
          ? { target: encodePath(reader.readlink(entry.path)).toString('latin1') }
          : {}),
      })
    }
    return found.sort((a, b) => ((a.path ?? '') < (b.path ?? '') ? -1 : 1))
  } finally {
    reader.close()
  }
}

/** In the words of `walkTree`. */
function xattrsOf(found: ReadonlyMap<string, Buffer>): Pick<TreeEntry, 'xattrs'> {
  if (found.size === 0) return {}
  const entries = [...found].map(([name, value]) => [
    encodePath(name).toString('latin1'),
    value.toString('hex'),
  ])
  return { xattrs: Object.fromEntries(entries.sort()) }
}

const need = needs('mksquashfs', 'veritysetup', 'root')
test.skipIf(!need.ok).each(['gzip', 'zstd'] as const)(
  titled('the image reader shows and verifies a tree packed with %s', need),
  async (compressor) => {
    await withTempDir(async (directory) => {
      const tree = path.join(directory, 'tree')
      fs.mkdirSync(tree)
      buildSourceTree(tree, { size: 'small', blockSize: 4096 })
      const expected = walkTree(tree)
        .filter((entry) => entry.path !== '.')
        .map(({ type: _type, linkGroup: _group, rdev: _rdev, ...entry }) => entry)
      const file = await mksquashfs(tree, path.join(directory, 'image'), { compressor, blockSize: 4096 })
      const { rootHash } = await appendVerity(file)
      const found = await walkImage(file, rootHash)
      expect(found.length).toBeGreaterThan(100)
      expect(found.some((entry) => entry.xattrs !== undefined)).toBe(true)
      expect(found).toEqual(expected)
    })
  },
)
