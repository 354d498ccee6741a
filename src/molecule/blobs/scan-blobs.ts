import { closeSync, fstatSync } from 'node:fs'
import { type ByteSource, DamageError, messageOf } from '../../base/index.ts'
import { FileSource } from '../../sys/files/file-source.ts'
import { statAt } from '../../sys/files/statx.ts'
import { type BlobsSpec, openBlob, placeOf, transformed } from '../../transforms/index.ts'
import { hashSource } from '../../verity/index.ts'
import type { ImageSpec } from '../spec.ts'
import { blobNames } from './blob-names.ts'

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
export function bytesOfBlobs(image: ImageSpec): number {
  const { blobs } = image
  if (blobs === undefined) return 0
  return blobNames(image).reduce((sum, name, blob) => sum + (sizeOfBlob(blobs, blob, name) ?? 0), 0)
}

/** Bytes of one blob of an image; undefined where it is not there. */
export function sizeOfBlob(spec: BlobsSpec, blob: number, name: string): number | undefined {
  return placeOf(spec, blob)?.length ?? statAt(spec.folder, name)?.size
}

/** Reads all blobs of an image, one after the other, and compares each with its digest. */
export function* scanBlobs(image: ImageSpec): Generator<ScannedBlob> {
  const { blobs } = image
  if (blobs === undefined) return
  for (const [blob, name] of blobNames(image).entries()) yield { blob, name, ...scan(blobs, blob, name) }
}

/** Reads all blobs before a mount. @throws DamageError with the first damaged one */
export function verifyBlobsAtMount(image: ImageSpec): void {
  const { label } = image
  for (const { blob, name, problem } of scanBlobs(image)) {
    if (problem !== undefined) throw new DamageError(label, blob, `layer ${label}: blob ${name}: ${problem}`)
  }
}

function scan(spec: BlobsSpec, blob: number, name: string): Omit<ScannedBlob, 'blob' | 'name'> {
  const place = placeOf(spec, blob)
  let fd: number | undefined
  try {
    fd = place === undefined ? openBlob(spec.folder, name) : undefined
    const file = new FileSource(fd ?? spec.folder, name, fstatSync(fd ?? spec.folder).size)
    const source: ByteSource =
      place === undefined
        ? file
        : transformed(file, [{ kind: 'window', offset: place.offset, size: place.length }])
    const { size } = source
    const algorithm = name.length === SHA512_DIGITS ? 'sha512' : 'sha256'
    const { digest, fsVerity } = hashSource(source, algorithm)
    if (digest === name) return { bytes: size, fsVerity }
    return { bytes: size, fsVerity, problem: `its ${algorithm} is ${digest}` }
  } catch (error) {
    return { bytes: 0, problem: messageOf(error) }
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}
