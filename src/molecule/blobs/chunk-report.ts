import { isImageFile, type NamedSource, unlessFailed } from '../../base/index.ts'
import { listTags } from '../../oci/index.ts'
import { closeImage, openImage } from '../image-file.ts'
import { findFiles } from '../resolve.ts'
import type { ImageSpec } from '../spec.ts'
import { blobNames } from './blob-names.ts'
import { sizeOfBlob } from './scan-blobs.ts'

/** Most other images of a layout that are looked at. */
const TAGS_MAX = 256

/** The blobs of an image that hold its data. */
export interface ChunkReport {
  readonly count: number
  /** Bytes as they are stored, each blob once. */
  readonly storedBytes: number
  /** Those that are not there. */
  readonly missing: number
  /** Bytes of blobs that no other tag of the layout has. */
  readonly uniqueBytes: number
  /** Other tags that were compared. */
  readonly otherTags: number
}

/**
 * Counts what the blobs of an image take, and what of it is the image's alone. Images of other tags that cannot be read
 * are passed over.
 */
export function reportChunks(image: ImageSpec, source: NamedSource): ChunkReport {
  const { blobs } = image
  const own = new Map<string, number>()
  let missing = 0
  const names = blobNames(image)
  for (const [name, blob] of new Map(names.map((one, i) => [one, i]))) {
    const size = blobs && sizeOfBlob(blobs, blob, name)
    if (size === undefined) missing += 1
    else own.set(name, size)
  }
  const storedBytes = sum(own.values())
  const count = own.size + missing
  let otherTags = 0
  for (const tag of unlessFailed(() => listTags(source.path)) ?? []) {
    if (tag === source.tag || otherTags === TAGS_MAX) continue
    const names = unlessFailed(() => chunksOf({ container: source.container, path: source.path, tag }))
    if (names === undefined) continue
    otherTags += 1
    for (const name of names) own.delete(name)
  }
  return { count, storedBytes, missing, uniqueBytes: sum(own.values()), otherTags }
}

/** @throws FsError where it is damaged, or no image of that kind */
function chunksOf(source: NamedSource): readonly string[] {
  const { layers } = findFiles({ source, name: source.path })
  return layers.filter(isImageFile).flatMap((file) => {
    if (file.digest === undefined) return []
    const image = openImage(file)
    try {
      return blobNames(image)
    } finally {
      closeImage(image)
    }
  })
}

function sum(sizes: Iterable<number>): number {
  let all = 0
  for (const size of sizes) all += size
  return all
}
