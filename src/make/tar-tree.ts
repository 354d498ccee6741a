import type { NewEntry } from '../../squashfs/write/index.ts'
import { readTar, type TarEntry } from '../../tar/index.ts'
import { FsError, isDirectory, type Name, S_IFCHR, S_IFDIR } from '../base/index.ts'
import type { LeftOut, TreeItem } from './tree-item.ts'
import { STORABLE } from './tree-item.ts'

/** What names of the form `.wh.NAME` become: whiteouts of overlayfs, or files like all others. */
export type Whiteouts = 'overlay' | 'none'

const PREFIX = '.wh.'
const OPAQUE = '.wh..wh..opq'
/** What AUFS keeps for itself: never part of a tree. */
const AUFS = /^\.wh\.\.wh\.(plnk|aufs|tmp)$/
/** The value is "y". */
const OPAQUE_MARK: readonly [Name, Uint8Array] = ['user.overlay.opaque', Uint8Array.of(0x79)]

/**
 * The entries of a tar archive, in its order. With `overlay`, a whiteout becomes a character device 0:0 and an opaque
 * directory gets the attribute `user.overlay.opaque` (image-spec, layer.md, "Whiteouts").
 * @throws FsError as `readTar`; EINVAL for a root that is no directory, and for an impossible whiteout
 */
export async function* tarTree(
  stream: AsyncIterable<Uint8Array>,
  whiteouts: Whiteouts,
  leftOut: LeftOut,
): AsyncGenerator<TreeItem> {
  const marks = new OpaqueMarks()
  for await (const entry of readTar(stream)) {
    const { path } = entry
    if (whiteouts === 'overlay') {
      const name = path.slice(path.lastIndexOf('/') + 1)
      const folder = path.slice(0, Math.max(path.length - name.length - 1, 0))
      if (folder.split('/').some((part) => part.startsWith(PREFIX))) {
        throw new FsError('EINVAL', `${JSON.stringify(path)}: something lies below a whiteout`)
      }
      if (AUFS.test(name)) continue
      if (name === OPAQUE) {
        marks.opaque.add(folder)
        continue
      }
      if (name.startsWith(PREFIX)) {
        yield { path: whiteoutPath(folder, name, path), entry: whiteout(entry) }
        continue
      }
    }
    if (entry.link !== undefined) {
      yield { path, link: entry.link }
      continue
    }
    const described = describe(entry, leftOut)
    if (path === '' && !isDirectory(entry.mode)) {
      throw new FsError('EINVAL', 'the archive makes the root something else than a directory')
    }
    if (whiteouts === 'overlay' && isDirectory(entry.mode)) marks.attributes.set(path, described)
    yield { path, entry: described }
  }
  yield* marks.items()
}

/** A directory that has a mark, and no entry of its own. */
const ROOT_OWNED: NewEntry = { mode: S_IFDIR | 0o755, uid: 0, gid: 0, mtime: 0 }

/** The mark may come before its directory, which may come again: all are made at the end. */
class OpaqueMarks {
  readonly opaque = new Set<Name>()
  readonly attributes = new Map<Name, NewEntry>()

  items(): TreeItem[] {
    return Array.from(this.opaque, (path) => {
      const { xattrs = [], ...entry } = this.attributes.get(path) ?? ROOT_OWNED
      return { path, entry: { ...entry, xattrs: [...xattrs, OPAQUE_MARK] } }
    })
  }
}

function whiteoutPath(folder: Name, name: Name, path: Name): Name {
  const hidden = name.slice(PREFIX.length)
  if (hidden === '' || hidden === '.' || hidden === '..') {
    throw new FsError('EINVAL', `${JSON.stringify(path)}: a whiteout of no name`)
  }
  return folder === '' ? hidden : `${folder}/${hidden}`
}

function whiteout({ mtime }: TarEntry): NewEntry {
  return { mode: S_IFCHR, uid: 0, gid: 0, mtime, rdev: 0 }
}

function describe(entry: TarEntry, leftOut: LeftOut): NewEntry {
  const { mode, uid, gid, mtime, rdev, target, size, content } = entry
  const xattrs = entry.xattrs.filter(([name]) => STORABLE.test(name))
  leftOut.attributes += entry.xattrs.length - xattrs.length
  return { mode, uid, gid, mtime, rdev, xattrs, size, content, ...(target !== undefined && { target }) }
}
