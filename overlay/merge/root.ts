import { DT_DIR, FsError, type Name } from '../../src/base/index.ts'
import { escapedFileName } from '../stored/file-names.ts'
import { Directory, type Stack } from './directory.ts'

/**
 * The directory at `subdir` in the merge of all layers; `''` and `/` are the root of the layers.
 * @throws FsError EINVAL for a stack that cannot be mounted; ENOENT, ENOTDIR for the path; EIO
 */
export function rootDirectory(stack: Stack, subdir: Name): Directory {
  if (stack.layers.length === 0) throw new FsError('EINVAL', 'no layers to mount')
  let directory = new Directory(stack, stack.roots)
  for (const name of subdir.split('/')) {
    if (name === '' || name === '.') continue
    if (name === '..') throw new FsError('EINVAL', `subdir ${JSON.stringify(subdir)}: must not contain ".."`)
    const found = directory.lookup(escapedFileName(name))
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
