import type { Attribute, NewEntry } from '../../squashfs/write/index.ts'
import { readTar, type TarEntry } from '../../tar/index.ts'
import { FsError, isDirectory, type Name, S_IFCHR, S_IFMT } from '../base/index.ts'
import { escapedAttribute, escapedPath } from './overlay-form.ts'
import type { TarMarks } from './tar-marks.ts'
import { type LeftOut, STORABLE, type TreeItem } from './tree-item.ts'

/**
 * The entries of a tar archive, in its order.
 * @param marks of a layer for overlays: they take the whiteouts, and their items follow the entries. What is data, and
 *   looks like a mark to an overlay, is escaped then. Absent: all entries are files
 * @param resolve where the entry of a path belongs, and what a hard link to it means; the path itself if absent
 * @throws FsError as `readTar` and `TarMarks.take`; EINVAL for a root that is no directory
 */
export async function* tarTree(
  stream: AsyncIterable<Uint8Array>,
  marks: TarMarks | undefined,
  leftOut: LeftOut,
  resolve?: (path: Name) => Name,
): AsyncGenerator<TreeItem> {
  for await (const stored of readTar(stream, leftOut)) {
    const entry = resolve === undefined ? stored : placed(stored, resolve)
    if (marks?.take(entry) === true) continue
    const path = marks === undefined ? entry.path : escapedPath(entry.path)
    if (entry.link !== undefined) {
      yield { path, link: marks === undefined ? entry.link : escapedPath(entry.link) }
      continue
    }
    if (path === '' && !isDirectory(entry.mode)) {
      throw new FsError('EINVAL', 'the archive makes the root something else than a directory')
    }
    if (marks !== undefined && (entry.mode & S_IFMT) === S_IFCHR && entry.rdev === 0) {
      // To an overlay it is a whiteout, whatever is done.
      leftOut.devices += 1
      marks.hide(path, entry.mtime)
      continue
    }
    yield { path, entry: describe(entry, marks !== undefined, leftOut) }
  }
  if (marks !== undefined) yield* marks.items()
}

function placed(entry: TarEntry, resolve: (path: Name) => Name): TarEntry {
  const { path, link } = entry
  return { ...entry, path: resolve(path), ...(link !== undefined && { link: resolve(link) }) }
}

function describe(entry: TarEntry, isLayer: boolean, leftOut: LeftOut): NewEntry {
  const { mode, uid, gid, mtime, rdev, target, size, content } = entry
  const xattrs = entry.xattrs.flatMap((attribute): Attribute[] => {
    const stored = isLayer ? escapedAttribute(attribute) : attribute
    return stored !== undefined && STORABLE.test(stored[0]) ? [stored] : []
  })
  leftOut.attributes += entry.xattrs.length - xattrs.length
  return { mode, uid, gid, mtime, rdev, xattrs, size, content, ...(target !== undefined && { target }) }
}
