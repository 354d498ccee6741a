import { closeSync, constants, openSync } from 'node:fs'
import { readTar, type TarEntry } from '../../../tar/index.ts'
import { FsError, isDirectory, type Name, type PathText, systemPath, withFsError } from '../../base/index.ts'
import { type Owners, possibleOwners } from '../../contents/index.ts'
import { O_PATH } from '../../sys/files/at.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { LowerLayers } from '../convert/lower-layers.ts'
import { ParentLinks } from '../convert/parent-links.ts'
import { decompressed } from '../decompressed.ts'
import { markOf } from '../tar-marks.ts'
import { assertPossible } from '../tar-tree.ts'
import { AppliedDirectory, type AppliedItem, type ApplyCounts } from './applied-directory.ts'

/** How a layer is laid over a directory. */
export interface ApplyOptions {
  /** By default what the caller may do: `real` as root, else `override`. */
  readonly owners?: Owners | undefined
  /** Ends the work, which throws its reason. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Lays a layer in an archive over a directory: what comes in it is made, and what its whiteouts and opaque marks name is
 * taken away, if it was there before. All layers of an image, one after the other, make its tree. Nothing outside of the
 * directory is changed, whatever the archive and links in the directory say. What comes below a link of the directory is
 * made where that leads, as for umoci, also where a mark of the link comes later: a stream is read once.
 * @param stream an archive, plain or compressed with gzip, zstd, xz or bzip2; read to its end
 * @throws FsError EINVAL for an archive that no tree can be made of; EIO for a damaged one; ENOENT, ENOTDIR for the
 *   directory and for hard links; ENOSPC, EPERM, …; the reason of the signal. What was made till then stays
 */
export async function applyLayer(
  stream: AsyncIterable<Uint8Array>,
  directory: PathText,
  options: ApplyOptions = {},
): Promise<ApplyCounts & { readonly owners: Owners }> {
  const own = possibleOwners()
  const { owners = own === 'none' ? 'override' : own, signal } = options
  const path = absolutePath(directory)
  const fd = withFsError(path, () => openSync(systemPath(path), O_PATH | constants.O_DIRECTORY))
  const target = new AppliedDirectory(fd, owners)
  try {
    const links = new ParentLinks(
      target,
      NOTHING_BELOW,
      () => false,
      (name) => name,
    )
    const resolve = (name: Name): Name => links.resolve(name)
    for await (const entry of readTar(decompressed(stream, 'the archive'))) {
      signal?.throwIfAborted()
      const mark = markOf(entry.path)
      if (mark === undefined) await target.add(itemOf(entry, resolve))
      else target.mark({ ...mark, path: resolve(mark.path) })
    }
    target.finish()
    return { ...target.counts, owners }
  } finally {
    target.close()
    closeSync(fd)
  }
}

/** What is below has become one with the directory. */
const NOTHING_BELOW = new LowerLayers([])

function itemOf({ path: stored, link, ...entry }: TarEntry, resolve: (path: Name) => Name): AppliedItem {
  const path = resolve(stored)
  if (link !== undefined) return { path, link: resolve(link) }
  if (path === '' && !isDirectory(entry.mode)) {
    throw new FsError('EINVAL', 'the archive makes the root something else than a directory')
  }
  assertPossible({ ...entry, path })
  return { path, entry }
}
