import { closeSync, constants } from 'node:fs'
import { readTrailer } from '../../tar/format/trailer.ts'
import { FsError, type ImageFile, isErrno } from '../base/index.ts'
import { findLayerFolder, storePath } from './place.ts'

/** Name of the image kind whose images are indexes. */
export const INDEXED = 'tar'

/** Whether the layer is an archive that has to be indexed before it can be read. */
export function isArchive(file: ImageFile): boolean {
  return file.kind === INDEXED && file.blob === undefined
}

/** Where the index of a blob lies: the folder of its algorithm, and its name there. */
export function indexName(digest: string): { readonly algorithm: string; readonly name: string } {
  const [algorithm = '', hex = ''] = digest.split(':')
  return { algorithm, name: `${hex}.idx` }
}

/** Opens the index of a blob. @returns a descriptor; undefined where the store has none. @throws FsError EPERM, … */
export function openIndex(digest: string): number | undefined {
  const { algorithm, name } = indexName(digest)
  const folder = findLayerFolder(algorithm)
  try {
    return folder?.openFile(name, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  } finally {
    folder?.close()
  }
}

/**
 * The image in place of an archive: its index in the store.
 * @throws FsError ENOENT where it has not been indexed; EIO for a damaged index
 */
export function withIndex(file: ImageFile): ImageFile {
  if (!isArchive(file)) return file
  const { label } = file
  const open = (): number => {
    const fd = openIndex(label)
    if (fd !== undefined) return fd
    throw new FsError('ENOENT', `layer ${label}: the store ${storePath()} has no index of it yet`)
  }
  const fd = open()
  try {
    return { ...file, open, rootHash: readTrailer(fd, `layer ${label}`), blob: file }
  } finally {
    closeSync(fd)
  }
}
