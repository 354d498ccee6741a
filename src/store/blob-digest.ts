import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { ImageFile } from '../base/index.ts'

const CHUNK = 1 << 20

/** What a comparison of a whole blob with its digest has shown. */
export interface BlobVerdict {
  /** Bytes that were read. */
  readonly bytes: number
  /** Why it is not what its digest says. */
  readonly message?: string
}

/**
 * Compares the blob of an archive with the digest that names it.
 * @throws FsError where it cannot be opened; the reason of the signal
 */
export async function verifyBlob(
  blob: ImageFile,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<BlobVerdict> {
  const [algorithm = '', expected = ''] = blob.label.split(':')
  const { offset: start = 0, length } = blob
  const place = { start, highWaterMark: CHUNK, ...(length !== undefined && { end: start + length - 1 }) }
  const stream = createReadStream(blob.path, { ...place, ...(blob.open && { fd: blob.open() }) })
  const hash = createHash(algorithm)
  let bytes = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    signal?.throwIfAborted()
    hash.update(chunk)
    bytes += chunk.length
    onBytes(chunk.length)
  }
  const found = hash.digest('hex')
  return found === expected ? { bytes } : { bytes, message: `the blob has the digest ${algorithm}:${found}` }
}
