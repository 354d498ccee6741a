import {
  encodePath,
  FsError,
  isDirectory,
  isSymlink,
  type Layer,
  type PathText,
  printable,
  type Ref,
} from '../../base/index.ts'

/** As many as the kernel follows (include/linux/namei.h:MAXSYMLINKS). */
const MAX_SYMLINKS = 40

/**
 * The ref of a path inside a layer. The root of the image is the root of every path and of every link target, and `..`
 * does not leave it: nothing outside the image is ever named.
 * @param follow whether symbolic links are followed, the last one too
 * @throws FsError ENOENT; ENOTDIR; ELOOP for a link before the last name where none are followed, and for more than 40
 *   links; EIO for damage
 */
export function resolveInside(layer: Layer, path: PathText, follow: boolean): Ref {
  const parents: Ref[] = []
  let at = layer.root
  let followed = 0
  // Last name first.
  const names = componentsOf(path)
  for (let name = names.pop(); name !== undefined; name = names.pop()) {
    if (name === '..') {
      if (!isDirectory(layer.stat(at).mode)) {
        throw new FsError('ENOTDIR', `${layer.label}: ${printable(path)} goes on behind what is no directory`)
      }
      at = parents.pop() ?? layer.root
      continue
    }
    const found = layer.lookup(at, name)?.ref
    if (found === undefined) throw new FsError('ENOENT', `${layer.label}: no ${printable(path)} in the image`)
    if (!isSymlink(layer.stat(found).mode)) {
      parents.push(at)
      at = found
      continue
    }
    if (!follow) {
      if (names.length === 0) return found
      throw new FsError('ELOOP', `${layer.label}: ${printable(path)} leads through a symbolic link`)
    }
    followed += 1
    if (followed > MAX_SYMLINKS)
      throw new FsError('ELOOP', `${layer.label}: ${printable(path)}: too many links`)
    const target = Buffer.from(layer.readlink(found)).toString('latin1')
    if (target === '')
      throw new FsError('ENOENT', `${layer.label}: ${printable(path)}: a link without a target`)
    if (target.startsWith('/')) {
      parents.length = 0
      at = layer.root
    }
    names.push(...splitReversed(target))
  }
  return at
}

function componentsOf(path: PathText): string[] {
  return splitReversed(encodePath(path).toString('latin1'))
}

function splitReversed(path: string): string[] {
  return path
    .split('/')
    .filter((name) => name !== '' && name !== '.')
    .reverse()
}
