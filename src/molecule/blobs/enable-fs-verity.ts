import { closeSync } from 'node:fs'
import { FsError } from '../../base/index.ts'
import { blobPathOf, openLayoutFile, parseDigest } from '../../oci/index.ts'
import { enableVerity } from '../../sys/files/fs-verity.ts'
import { openBlob } from '../../transforms/index.ts'
import { closeImage, openImage } from '../image-file.ts'
import { findFiles, imagesOnly } from '../resolve.ts'
import { namedSource } from '../source.ts'
import { blobNames } from './blob-names.ts'

/** What `enableFsVerity` has done. */
export interface EnabledReport {
  /** Files of the image: its manifest, its metadata, its chunks. */
  readonly files: number
  /** Those of them that the kernel verifies now. */
  readonly enabled: number
}

/**
 * Makes the kernel verify all files of an image that stands alone in its layout, where their file system can do that.
 * @param digest the fs-verity digest of the manifest, hex, which is compared first
 * @throws FsError EINVAL for another image; EIO for damage and another digest; EACCES, EPERM, EROFS
 */
export function enableFsVerity(source: string, digest: string): EnabledReport {
  const [named, name] = namedSource(source)
  const found = findFiles({ source: named, name, rootHash: digest })
  const [file] = imagesOnly(found, 'enable-fs-verity')
  const { manifestDigest } = found
  const isFolder = file?.openBlobFolder !== undefined
  if (!isFolder || file.digest === undefined || manifestDigest === undefined) {
    throw new FsError('EINVAL', `${name}: is no PuzzleFS image`)
  }
  const image = openImage(file)
  try {
    const where = blobPathOf(parseDigest(manifestDigest, 'manifest'))
    const chunks = image.blobs
    const done = [
      withFile(openLayoutFile(named.path, where, 'manifest'), enableVerity),
      enableVerity(image.source.fd),
      ...(chunks === undefined
        ? []
        : blobNames(image).map((blob) => withFile(openBlob(chunks.folder, blob), enableVerity))),
    ]
    return { files: done.length, enabled: done.filter(Boolean).length }
  } finally {
    closeImage(image)
  }
}

function withFile<T>(fd: number, work: (fd: number) => T): T {
  try {
    return work(fd)
  } finally {
    closeSync(fd)
  }
}
