import { closeSync, fstatSync } from 'node:fs'
import { FsError, type PathText } from '../base/index.ts'
import { type Digest, digestOf, parseDigest } from './digest.ts'
import type { LayoutFiles } from './layout.ts'
import { blobPathOf, openLayoutFile, pathIn } from './layout-file.ts'
import type { Descriptor } from './schema.ts'

/**
 * Most bytes of an index, manifest or configuration. The largest are manifests of PuzzleFS images, with 160 bytes for each
 * chunk: this is enough for some 10 GB of data.
 */
export const DOCUMENT_LIMIT = 16 * 1024 * 1024

/**
 * Reads a document that a descriptor names, and checks its size and digest before anyone parses it
 * (descriptor.md, "Verification").
 * @throws FsError EIO where size or digest differ, ENOENT where the blob is missing.
 */
export function readDocumentBlob(layout: LayoutFiles, descriptor: Descriptor, what: string): Buffer {
  const digest = parseDigest(descriptor.digest, what)
  const name = `${what} ${digest.text}`
  if (descriptor.size > DOCUMENT_LIMIT) {
    throw new FsError(
      'EIO',
      `${name}: descriptor gives ${descriptor.size} bytes, more than the limit of ${DOCUMENT_LIMIT}`,
    )
  }
  return readDocument(layout, digest, name, descriptor.size)
}

/**
 * Reads a document by its digest alone, and checks it.
 * @param size that its descriptor gives, where there is one
 * @throws FsError as `readDocumentBlob`
 */
export function readDocument(layout: LayoutFiles, digest: Digest, name: string, size?: number): Buffer {
  const bytes = layout.read(blobPathOf(digest), DOCUMENT_LIMIT, name)
  if (size !== undefined) checkSize(name, size, bytes.length)
  const actual = digestOf(bytes, digest.algorithm)
  if (actual !== digest.text) {
    throw new FsError(
      'EIO',
      `${name}: content has digest ${actual}, the blob is damaged: fetch the image again`,
    )
  }
  return bytes
}

/**
 * Opens a layer's blob and checks that it is there in full. Its bytes are not hashed: that would read the whole image
 * before every mount; dm-verity checks what is read.
 * @returns a descriptor; the caller closes it
 */
export function openLayerBlob(ociDir: PathText, digest: Digest, size: number, what: string): number {
  const place = blobPathOf(digest)
  const fd = openLayoutFile(ociDir, place, what)
  try {
    checkSize(`${what} (${pathIn(ociDir, place)})`, size, fstatSync(fd).size)
    return fd
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function checkSize(what: string, expected: number, actual: number): void {
  if (expected === actual) return
  throw new FsError(
    'EIO',
    `${what}: descriptor gives ${expected} bytes, the blob has ${actual}: the copy is incomplete or damaged, fetch the image again`,
  )
}
