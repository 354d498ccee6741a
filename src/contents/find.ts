import {
  type Entry,
  FsError,
  isDirectory,
  isSymlink,
  type Name,
  type PathText,
  ROOT_NODE_ID,
} from '../base/index.ts'
import { resolveInside } from './resolve-path.ts'
import type { Contents } from './source-contents.ts'

/**
 * The entry of a path. Links are followed inside of the image.
 * @param followsLast whether the last name is followed if it is a link
 * @returns it, known as long as the contents are open
 * @throws FsError ENOENT, ENOTDIR, ELOOP; EIO for damage
 */
export function findEntry({ fileSystem, name }: Contents, path: PathText, followsLast = true): Entry {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  const last = parts.at(-1)
  const tree = {
    label: name,
    root: { nodeId: ROOT_NODE_ID, stat: fileSystem.getattr(ROOT_NODE_ID) } as Entry,
    lookup: ({ nodeId, stat }: Entry, child: Name) => {
      if (!isDirectory(stat.mode))
        throw new FsError('ENOTDIR', `${name}: ${path} leads through what is no directory`)
      return fileSystem.lookup(nodeId, child)
    },
    typeOf: ({ stat }: Entry) =>
      isDirectory(stat.mode) ? 'directory' : isSymlink(stat.mode) ? 'symlink' : 'other',
    readlink: ({ nodeId }: Entry) => fileSystem.readlink(nodeId),
  } as const
  // A slash behind a link asks for what it leads to.
  if (followsLast || last === undefined || last === '..' || path.endsWith('/')) {
    return resolveInside<Entry>(tree, path, true)
  }
  const folder = resolveInside<Entry>(tree, parts.slice(0, -1).join('/'), true)
  return resolveInside<Entry>({ ...tree, root: folder }, last, false)
}
