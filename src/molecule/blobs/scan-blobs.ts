import { closeSync, fstatSync } from 'node:fs'
import { messageOf } from '../../base/index.ts'
import { FileSource } from '../../sys/files/file-source.ts'
import { statAt } from '../../sys/files/statx.ts'
import { type BlobsSpec, blobNames, openBlob } from '../../transforms/index.ts'
import { hashSource } from '../../verity/index.ts'

/** Hex digits of a sha512; other blobs are named by their sha256. */
const SHA512_DIGITS = 128

/** What reading one blob of an image has shown. */
export interface ScannedBlob {
  /** Index among the blobs of the image. */
  readonly blob: number
  /** Its digest, hex. */
  readonly name: string
  /** Bytes read. */
  readonly bytes: number
  /** Why it is not what its digest says. */
  readonly problem?: string
  /** What fs-verity says of it, hex; absent where it cannot be read. */
  readonly fsVerity?: string
}

/** Bytes of all blobs that are there: what `scanBlobs` will read. */
export function bytesOfBlobs(spec: BlobsSpec | undefined): number {
  if (spec === undefined) return 0
  return blobNames(spec).reduce((sum, name) => sum + (statAt(spec.folder, name)?.size ?? 0), 0)
}

/** Reads all blobs of an image, one after the other, and compares each with its digest. */
export function* scanBlobs(spec: BlobsSpec | undefined): Generator<ScannedBlob> {
  if (spec === undefined) return
  for (const [blob, name] of blobNames(spec).entries()) yield { blob, name, ...scan(spec.folder, name) }
}

function scan(folder: number, name: string): Omit<ScannedBlob, 'blob' | 'name'> {
  let fd: number | undefined
  try {
    fd = openBlob(folder, name)
    const { size } = fstatSync(fd)
    const algorithm = name.length === SHA512_DIGITS ? 'sha512' : 'sha256'
    const { digest, fsVerity } = hashSource(new FileSource(fd, name, size, false), algorithm)
    if (digest === name) return { bytes: size, fsVerity }
    return { bytes: size, fsVerity, problem: `its ${algorithm} is ${digest}` }
  } catch (error) {
    return { bytes: 0, problem: messageOf(error) }
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
