import { FsError, type Name } from '../src/base/index.ts'
import { Directory, type Stack } from './directory.ts'
import { storedFileName } from './file-names.ts'
import type { Layer } from './layer.ts'
import { type Part, Parts } from './parts.ts'
import { DT_DIR } from './whiteout.ts'

/**
 * The directory at `subdir` in the merge of all layers; `''` and `/` are the root of the layers.
 * @throws FsError EINVAL for a stack that cannot be mounted; ENOENT, ENOTDIR for the path; EIO
 */
export function rootDirectory(stack: Stack, subdir: Name): Directory {
  if (stack.layers.length === 0) throw new FsError('EINVAL', 'no layers to mount')
  if (stack.plain && stack.layers.length > 1) {
    throw new FsError('EINVAL', `${stack.layers.length} layers cannot be shown as they are, only one can`)
  }
  const parts = new Parts(stack.layers, rootParts(stack.layers))
  // Unlike the kernel, which never looks at the attributes of a layer's root: `.wh..wh..opq` may stand there, and
  // tools translate it to the attribute (docs/adr/0004-merge.md).
  if (!stack.plain) parts.cutAtOpaque()
  let directory = new Directory(stack, parts)
  for (const name of subdir.split('/')) {
    if (name === '' || name === '.') continue
    if (name === '..') throw new FsError('EINVAL', `subdir ${JSON.stringify(subdir)}: must not contain ".."`)
    const found = directory.lookup(stack.plain ? name : storedFileName(name))
    if (found === undefined) {
      throw new FsError('ENOENT', `subdir ${JSON.stringify(subdir)}: no ${JSON.stringify(name)} in the image`)
    }
    if (found.entry.type !== DT_DIR) {
      throw new FsError(
        'ENOTDIR',
        `subdir ${JSON.stringify(subdir)}: ${JSON.stringify(name)} is no directory`,
      )
    }
    directory = found.merged ?? new Directory(stack, [found.top])
  }
  return directory
}

/**
 * The roots of the layers, topmost first. A layer that stands again below itself adds nothing, whatever lies between: each
 * name that it has there it has above as well, and what it deletes or hides there is deleted or hidden from above already.
 */
function rootParts(layers: readonly Layer[]): readonly Part[] {
  const topmost = new Map(layers.map((layer, index) => [layer, index]))
  return [...topmost].map(([{ root }, layer]) => ({ layer, ref: root })).sort((a, b) => b.layer - a.layer)
}
