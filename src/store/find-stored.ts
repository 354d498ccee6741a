import { closeSync, constants } from 'node:fs'
import { readTrailer, type Trailer } from '../../tar/format/trailer.ts'
import { type FoundLayer, FsError, type ImageFile, isErrno, isFoundDirectory } from '../base/index.ts'
import { openHeld } from './held-in-memory.ts'
import { layerFolders, storePath } from './place.ts'
import { INDEXED, imageName, indexName, type StoredName } from './stored-name.ts'
import { isPresentVersion } from './version.ts'

/** Whether the layer is an archive, of which something has to be made before it can be read. */
export function isArchive(file: ImageFile): boolean {
  return file.kind === INDEXED && file.blob === undefined
}

/** Opens a file that was made of a layer. @returns a descriptor; undefined where there is none. @throws FsError EPERM, … */
export function openStored(stored: StoredName): number | undefined {
  const inMemory = openHeld(stored)
  if (inMemory !== undefined) return inMemory
  for (const folder of layerFolders(stored.algorithm)) {
    try {
      return folder.openFile(stored.name, constants.O_RDONLY | constants.O_NONBLOCK)
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error
    } finally {
      folder.close()
    }
  }
  return undefined
}

/** A file that was made of a layer, and what its last page says. */
export interface FoundStored {
  readonly stored: StoredName
  readonly trailer: Trailer
}

/** Looks at one file. @returns undefined where there is none of this version. @throws FsError EIO for a damaged one; EPERM, … */
export function lookAtStored(stored: StoredName, label: string): FoundStored | undefined {
  const fd = openStored(stored)
  if (fd === undefined) return undefined
  try {
    const trailer = readTrailer(fd, label)
    return isPresentVersion(stored.kind, trailer) ? { stored, trailer } : undefined
  } finally {
    closeSync(fd)
  }
}

/** Whether a layer with these needs is another one over each stack of layers. */
export function dependsOn({ needs }: Trailer, below: readonly string[]): boolean {
  return needs.files || (needs.directories && below.length > 0)
}

/**
 * What was made of an archive, fit for the layers below it.
 * @param below digests of the layers below, bottom first
 * @returns undefined where nothing was made yet
 * @throws FsError as `lookAtStored`
 */
export function findStored(file: ImageFile, below: readonly string[]): FoundStored | undefined {
  const label = `layer ${file.label}`
  const index = lookAtStored(indexName(file.label), label)
  if (index !== undefined) {
    return dependsOn(index.trailer, below) ? lookAtStored(indexName(file.label, below), label) : index
  }
  const digest = file.diffId ?? file.label
  return lookAtStored(imageName(digest, below), label) ?? lookAtStored(imageName(digest), label)
}

/** The digests of layers, bottom first. */
export function labelsOf(layers: readonly FoundLayer[]): readonly string[] {
  return layers.map((layer) => (isFoundDirectory(layer) ? layer.directory : layer.label))
}

/**
 * The layers with images in place of archives: their indexes, or what they were converted to.
 * @param layers bottom first
 * @throws FsError ENOENT where nothing was made yet; EIO for a damaged index
 */
export function withStored(layers: readonly FoundLayer[]): readonly FoundLayer[] {
  const labels = labelsOf(layers)
  return layers.map((layer, i) => {
    if (isFoundDirectory(layer) || !isArchive(layer)) return layer
    const found = findStored(layer, labels.slice(0, i))
    if (found !== undefined) return imageOf(layer, found)
    throw new FsError('ENOENT', `layer ${layer.label}: the store ${storePath()} has no index of it yet`)
  })
}

/** The image that was made of an archive. */
export function imageOf(file: ImageFile, { stored, trailer }: FoundStored): ImageFile {
  // The place in its file is that of the archive.
  const { offset: _, length: __, ...others } = file
  const open = (): number => {
    const fd = openStored(stored)
    if (fd !== undefined) return fd
    throw new FsError('ENOENT', `layer ${file.label}: ${stored.name} was removed from the store`)
  }
  // Of one layer over different ones there may be several.
  return { ...others, kind: stored.kind, open, rootHash: trailer.rootHash, blob: file }
}
