import fs from 'node:fs'
import { checkWhole } from '../../sif/index.ts'
import {
  type BlobList,
  type ByteSource,
  DamageError,
  FsError,
  type ImageFacts,
  type ImageFile,
  type ImageKind,
  MAX_BLOCK_SIZE,
  omitUndefined,
  unlessFailed,
  type VerityWatch,
  withSource,
} from '../base/index.ts'
import { kindNamed, probeKind } from '../kinds/kinds.ts'
import { parseDigest } from '../oci/index.ts'
import {
  allocateBlobs,
  allocateParts,
  type BlobsSpec,
  openSource,
  type TransformSpec,
  transformed,
} from '../transforms/index.ts'
import { hashSource, openVerity, type ScanReport, type VerityTable, verifyRange } from '../verity/index.ts'
import { decryption } from './encryption/decryption.ts'
import { openWindow } from './images/image-window.ts'
import type { ImageSpec, VerifyMode } from './spec.ts'

/** A layer up to this size is verified whole at mount with `--verify=auto`, bytes. */
const SMALL_LAYER = 8 << 20

/**
 * Opens one image file and reads what must be known of it, through verification where there is a root hash.
 * @throws FsError with one line; nothing stays open then
 */
export function openImage(file: ImageFile): ImageSpec {
  const { source, window } = openWindow(file)
  try {
    return withSource(transformed(openSource(source, file.label), window), (stored) => {
      const decrypted = decryption(stored, file)
      return withSource(transformed(stored, decrypted), (raw) => {
        const kind = file.kind === undefined ? probeKind(raw) : kindNamed(file.kind)
        const { facts, verified } = describe(kind, raw, file)
        const transforms = [...window, ...decrypted, ...verified]
        const list = kind.blobs?.(transformed(raw, verified))
        const blobs = list && openBlobs(kind, list, file)
        const common = { label: file.label, kind: kind.name, source, transforms, facts }
        const ofTar = file.blob === undefined ? {} : { isOfTar: true as const }
        return { ...common, ...ofTar, ...omitUndefined({ blobs }) }
      })
    })
  } catch (error) {
    fs.closeSync(source.fd)
    throw error
  }
}

/** The other blobs of an image: where all of them lie, and what threads share of them. */
function openBlobs(kind: ImageKind, list: BlobList, file: ImageFile): BlobsSpec | undefined {
  const { count } = list
  if (count === 0) return undefined
  const { blobParts: parts } = file
  if (parts !== undefined) {
    // One that is missing is an error for its files alone, as in a folder.
    const places = Array.from(
      { length: count },
      (_, blob) => unlessFailed(() => parts.place(list.digest(blob))) ?? { offset: 0, length: 0 },
    )
    return allocateParts(parts.open(), places)
  }
  if (file.openBlobFolder !== undefined) return allocateBlobs(file.openBlobFolder(list.digest(0)), count)
  throw new FsError('EINVAL', `${file.path}: ${kind.title} needs other blobs of its layout: give OCIDIR:TAG`)
}

function describe(
  kind: ImageKind,
  raw: ByteSource,
  file: ImageFile,
): { readonly facts: ImageFacts; readonly verified: readonly TransformSpec[] } {
  const { rootHash } = file
  if (kind.isVerifiedByDigest === true) {
    const verified = [hashWhole(raw, file)]
    return { facts: factsOf(kind, transformed(raw, verified)), verified }
  }
  if (rootHash === undefined) return { facts: factsOf(kind, raw), verified: [] }
  const dataLength = (source: ByteSource): number => kind.describe(source).bytesUsed
  const source = openVerity({ source: raw, rootHash, dataLength })
  return { facts: factsOf(kind, source), verified: [{ kind: 'verity', table: source.table }] }
}

/** Reads all of a file, and compares it with the digests that are known. @throws DamageError */
function hashWhole(raw: ByteSource, { digest: text, fsVerity, label }: ImageFile): TransformSpec {
  const expected = text === undefined ? undefined : parseDigest(text, `layer ${label}`)
  const found = hashSource(raw, expected?.algorithm ?? 'sha256')
  const differs = (what: string, is: string, should: string): DamageError =>
    new DamageError(label, 0, `layer ${label}: its ${what} is ${is}, expected ${should}: the blob is damaged`)
  if (expected !== undefined && found.digest !== expected.hex) {
    throw differs(expected.algorithm, found.digest, expected.hex)
  }
  if (fsVerity !== undefined && found.fsVerity !== fsVerity) {
    throw differs('fs-verity digest', found.fsVerity, fsVerity)
  }
  return { kind: 'hashed', blocks: found.blocks }
}

/** @throws FsError EIO where the blocks need more memory than one slot of the cache has */
function factsOf(kind: ImageKind, source: ByteSource): ImageFacts {
  const facts = kind.describe(source)
  if (facts.blockSize <= MAX_BLOCK_SIZE) return facts
  const wrong = `blocks of ${facts.blockSize} bytes, at most ${MAX_BLOCK_SIZE} are possible`
  throw new FsError('EIO', `${source.label}: ${kind.title} with ${wrong}`)
}

/** The hash tree that every read of an image is compared with; undefined where there is no root hash. */
export function verityOf({ transforms }: ImageSpec): VerityTable | undefined {
  const transform = transforms.find((one) => one.kind === 'verity')
  return transform?.kind === 'verity' ? transform.table : undefined
}

/** The bytes of an image that nothing has verified, decrypted, its hash tree included. */
export function rawSource({ source, transforms, label }: ImageSpec): ByteSource {
  return transformed(
    openSource(source, label),
    transforms.filter(({ kind }) => kind !== 'verity' && kind !== 'hashed'),
  )
}

/** The bytes as they lie in the file, from the image's first byte. */
export function storedSource({ source, transforms, label }: ImageSpec): ByteSource {
  return transformed(
    openSource(source, label),
    transforms.filter(({ kind }) => kind === 'window'),
  )
}

/** Ends the use of an image in this process. What was made of it by `rawSource` and `imageSource` is closed before. */
export function closeImage({ source, blobs }: ImageSpec): void {
  fs.closeSync(source.fd)
  if (blobs !== undefined) fs.closeSync(blobs.folder)
}

/**
 * What a kind may read: verified bytes where there is a root hash. One instance for each thread.
 * @param cacheBytes most bytes of verified hash blocks to keep
 * @param guard put around the file, below all transforms
 */
export function imageSource(
  image: ImageSpec,
  watch?: VerityWatch,
  cacheBytes?: number,
  guard: (source: ByteSource) => ByteSource = (one) => one,
): ByteSource {
  return imageOver(guard(openSource(image.source, image.label)), image, watch, cacheBytes)
}

/** As `imageSource`. @param file of the image, opened by this thread */
export function imageOver(
  file: ByteSource,
  { transforms }: ImageSpec,
  watch?: VerityWatch,
  cacheBytes?: number,
): ByteSource {
  return transformed(file, transforms, {
    ...omitUndefined({ watch, hashCacheBytes: cacheBytes }),
  })
}

/**
 * Compares a whole image with digests that are known of it.
 * @throws FsError EIO where one differs
 */
export function checkDigests(spec: ImageSpec, digests: readonly string[]): void {
  if (digests.length > 0) withSource(storedSource(spec), (source) => checkWhole(source, digests))
}

/**
 * Verifies at mount what the mode asks for, blobs left out.
 * @throws DamageError with the first damaged block
 */
export function verifyAtMount(spec: ImageSpec, mode: VerifyMode): void {
  const table = verityOf(spec)
  if (table === undefined || mode === 'lazy') return
  const { bytesUsed, metadataStart, blobBytes = 0 } = spec.facts
  const whole = mode === 'eager' || bytesUsed + blobBytes <= SMALL_LAYER
  const from = whole ? 0 : Math.floor(metadataStart / table.dataBlockSize)
  const report = withSource(rawSource(spec), (source) => verifyRange({ source, table, from, listLimit: 1 }))
  if (report.badBlocks === 0) return
  const position = (report.failures[0] ?? report.unreadable[0])?.position ?? 0
  throw new DamageError(spec.label, position, `layer ${spec.label}: ${describeScan(report)}`)
}

/** One line for a scan that found damage. */
export function describeScan(report: ScanReport): string {
  const [failure] = report.failures
  const [unreadable] = report.unreadable
  const first =
    failure !== undefined
      ? `first at byte ${failure.position}: expected ${failure.expected} got ${failure.actual}`
      : `first at byte ${unreadable?.position}: ${unreadable?.message}`
  return `${report.badBlocks} blocks do not match the root hash, ${first}`
}
