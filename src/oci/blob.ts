import { closeSync, constants, fstatSync, openSync, readSync, statSync } from 'node:fs'
import { FsError } from '../base/index.ts'
import { blobPathOf, type Digest, digestOf, parseDigest } from './digest.ts'
import type { Descriptor } from './schema.ts'

/** Most bytes of an index, manifest or configuration: some hundred times the largest seen in practice. */
export const DOCUMENT_LIMIT = 4 * 1024 * 1024

/**
 * Reads a small regular file whole.
 * @throws FsError ENOENT where it is missing, EIO where it is larger than `limit`, not a regular file or unreadable.
 */
export function readSmallFile(path: string, limit: number, what: string): Buffer {
  // A fifo in place of the file must not block the open.
  const fd = attempt(`${what}: cannot open ${path}`, () =>
    openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
  )
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw new FsError('EIO', `${what}: ${path} is not a regular file`)
    if (stat.size > limit) {
      throw new FsError('EIO', `${what}: ${path} has ${stat.size} bytes, more than the limit of ${limit}`)
    }
    const bytes = Buffer.alloc(stat.size)
    let filled = 0
    while (filled < bytes.length) {
      const count = attempt(`${what}: cannot read ${path}`, () =>
        readSync(fd, bytes, filled, bytes.length - filled, filled),
      )
      if (count === 0) throw new FsError('EIO', `${what}: ${path} ended at ${filled} of ${stat.size} bytes`)
      filled += count
    }
    return bytes
  } finally {
    closeSync(fd)
  }
}

/**
 * Reads a document that a descriptor names, and checks its size and digest before anyone parses it
 * (descriptor.md, "Verification").
 * @throws FsError EIO where size or digest differ, ENOENT where the blob is missing.
 */
export function readDocumentBlob(ociDir: string, descriptor: Descriptor, what: string): Buffer {
  const digest = parseDigest(descriptor.digest, what)
  const name = `${what} ${digest.text}`
  if (descriptor.size > DOCUMENT_LIMIT) {
    throw new FsError(
      'EIO',
      `${name}: descriptor gives ${descriptor.size} bytes, more than the limit of ${DOCUMENT_LIMIT}`,
    )
  }
  const bytes = readSmallFile(blobPathOf(ociDir, digest), DOCUMENT_LIMIT, name)
  checkSize(name, descriptor.size, bytes.length)
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
 * Checks that a layer's blob is there in full. Its bytes are not hashed: that would read the whole image before
 * every mount; dm-verity checks what is read.
 * @returns its path, with symbolic links as they stand.
 */
export function findLayerBlob(ociDir: string, digest: Digest, size: number, what: string): string {
  const path = blobPathOf(ociDir, digest)
  const stat = attempt(`${what}: blob ${path}`, () => statSync(path))
  if (!stat.isFile()) throw new FsError('EIO', `${what}: blob ${path} is not a regular file`)
  checkSize(`${what} (${path})`, size, stat.size)
  return path
}

/** Runs a call of node:fs and turns its error into an FsError with the reason and, for a missing file, ENOENT. */
export function attempt<T>(what: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    if (error instanceof FsError) throw error
    const code = errorCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new FsError('ENOENT', `${what}: no such file`, { cause: error })
    if (code === 'EACCES' || code === 'EPERM') {
      throw new FsError('EACCES', `${what}: permission denied`, { cause: error })
    }
    throw new FsError('EIO', `${what}: ${code ?? String(error)}`, { cause: error })
  }
}

/** The `code` of a Node error, undefined where it has none. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

function checkSize(what: string, expected: number, actual: number): void {
  if (expected === actual) return
  throw new FsError(
    'EIO',
    `${what}: descriptor gives ${expected} bytes, the blob has ${actual}: the copy is incomplete or damaged, fetch the image again`,
  )
}
