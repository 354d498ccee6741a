import { encodePath, FsError, type Name, type PathText, printable } from '../base/index.ts'

/** As many as the kernel follows (include/linux/namei.h:MAXSYMLINKS). */
const MAX_SYMLINKS = 40

/** What a path is looked up in. `Node` names a file of it. */
export interface Resolvable<Node> {
  /** For messages. */
  readonly label: string
  readonly root: Node
  readonly lookup: (directory: Node, name: Name) => Node | undefined
  readonly typeOf: (node: Node) => 'directory' | 'symlink' | 'other'
  readonly readlink: (node: Node) => Uint8Array
}

/**
 * The node of a path inside a tree. Its root is the root of every path and of every link target, and `..` does not leave
 * it: nothing outside is ever named.
 * @param follow whether symbolic links are followed, the last one too
 * @throws FsError ENOENT; ENOTDIR; ELOOP for a link before the last name where none are followed, and for more than 40
 *   links; EIO for damage
 */
export function resolveInside<Node>(tree: Resolvable<Node>, path: PathText, follow: boolean): Node {
  const parents: Node[] = []
  let at = tree.root
  let followed = 0
  // Last name first.
  const names = componentsOf(path)
  for (let name = names.pop(); name !== undefined; name = names.pop()) {
    if (name === '..') {
      if (tree.typeOf(at) !== 'directory') {
        throw new FsError('ENOTDIR', `${tree.label}: ${printable(path)} goes on behind what is no directory`)
      }
      at = parents.pop() ?? tree.root
      continue
    }
    const found = tree.lookup(at, name)
    if (found === undefined) throw new FsError('ENOENT', `${tree.label}: no ${printable(path)} in the image`)
    if (tree.typeOf(found) !== 'symlink') {
      parents.push(at)
      at = found
      continue
    }
    if (!follow) {
      if (names.length === 0) return found
      throw new FsError('ELOOP', `${tree.label}: ${printable(path)} leads through a symbolic link`)
    }
    followed += 1
    if (followed > MAX_SYMLINKS)
      throw new FsError('ELOOP', `${tree.label}: ${printable(path)}: too many links`)
    const target = Buffer.from(tree.readlink(found)).toString('latin1')
    if (target === '')
      throw new FsError('ENOENT', `${tree.label}: ${printable(path)}: a link without a target`)
    if (target.startsWith('/')) {
      parents.length = 0
      at = tree.root
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
