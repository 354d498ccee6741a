import type { Attribute } from '../../squashfs/write/index.ts'
import { readTar, type TarEntry } from '../../tar/index.ts'
import { FsError, isDirectory, type Name, omitUndefined, S_IFCHR, S_IFMT } from '../base/index.ts'
import { escapedAttribute, escapedPath } from './overlay-form.ts'
import { opaqueDirectory, opaqueName, type TarMarks } from './tar-marks.ts'
import { type LeftOut, STORABLE, type TreeEntry, type TreeItem } from './tree-item.ts'

/** What the layers below say of the paths of a layer. */
export interface Below {
  /** Where the entry of a path belongs, and what a hard link to it means. */
  readonly resolve: (path: Name) => Promise<Name>
  /** Type of what they have at a path. */
  readonly typeAt: (path: Name) => number | undefined
}

/**
 * The entries of a tar archive, in its order.
 * @param marks of a layer for overlays: they take the whiteouts, and their items follow the entries. What is data, and
 *   looks like a mark to an overlay, is escaped then. Absent: all entries are files
 * @param below what a layer above others depends on
 * @throws FsError as `readTar` and `TarMarks.take`; EINVAL for a root that is no directory
 */
export async function* tarTree(
  stream: AsyncIterable<Uint8Array>,
  marks: TarMarks | undefined,
  leftOut: LeftOut,
  below?: Below,
): AsyncGenerator<TreeItem> {
  for await (const stored of readTar(stream, leftOut)) {
    const entry = below === undefined ? stored : await movedTo(stored, below.resolve)
    if (marks?.take(entry) === true) continue
    const path = marks === undefined ? entry.path : escapedPath(entry.path)
    if (entry.link !== undefined) {
      if (path === '') throw new FsError('EINVAL', 'the archive makes the root a link')
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
  if (marks !== undefined) yield* marks.items(below?.typeAt)
}

async function movedTo(entry: TarEntry, resolve: Below['resolve']): Promise<TarEntry> {
  const { path, link } = entry
  const directory = opaqueDirectory(path)
  // Where a layer below has a link of that name it is hidden, and never what the link leads to.
  const place = directory === undefined ? await resolve(path) : opaqueName(await resolve(directory))
  return { ...entry, path: place, ...(link !== undefined && { link: await resolve(link) }) }
}

function describe(entry: TarEntry, isLayer: boolean, leftOut: LeftOut): TreeEntry {
  const { mode, uid, gid, mtime, time, rdev, target, size, content, placed } = entry
  assertPossible(entry)
  const xattrs = entry.xattrs.flatMap((attribute): Attribute[] => {
    const stored = isLayer ? escapedAttribute(attribute) : attribute
    return stored !== undefined && STORABLE.test(stored[0]) ? [stored] : []
  })
  leftOut.attributes += entry.xattrs.length - xattrs.length
  return {
    ...{ mode, uid, gid, mtime, time, rdev, xattrs, size, content },
    ...omitUndefined({ target, placed }),
  }
}

/** One more means "unchanged" to chown(2). */
const ID_MAX = 0xffff_fffe

/** @throws FsError EINVAL for an owner that no file can have, and for a link to what no path can name */
export function assertPossible({ path, uid, gid, target }: Omit<TarEntry, 'link'>): void {
  const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id <= ID_MAX
  const name = JSON.stringify(path)
  if (!isId(uid) || !isId(gid)) throw new FsError('EINVAL', `${name} has the owner ${uid}:${gid}`)
  if (target?.length === 0 || target?.includes(0)) throw new FsError('EINVAL', `${name} is a link to nothing`)
}
