import { setImmediate } from 'node:timers/promises'
import { type NamedSource, omitUndefined, withSource } from '../../base/index.ts'
import { kindNamed } from '../../kinds/kinds.ts'
import { nameDamagedBlobs } from '../damage.ts'
import { imageSource } from '../image-file.ts'
import type { LayerVerdict } from '../layer-verdict.ts'
import type { ImageSpec } from '../spec.ts'
import { reportChunks } from './chunk-report.ts'
import { type ScannedBlob, scanBlobs } from './scan-blobs.ts'

/** Most damaged blobs, and most remarks, that are told one by one. */
const TOLD = 100

/**
 * Reads all blobs of an image that was verified by its digest when it was opened, and compares each with its own.
 * @param from what was verified, whose other tags may share blobs
 * @param onBytes called with the bytes that were read since the last call
 */
export async function verifyBlobs(
  image: ImageSpec,
  from: NamedSource,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<LayerVerdict> {
  const { label, source, facts, blobs } = image
  const recorded = withSource(imageSource(image), (bytes) => kindNamed(image.kind).blobVerity?.(bytes)) ?? []
  const bad: ScannedBlob[] = []
  const remarks: string[] = []
  let bytes = source.size
  let count = 0
  onBytes(source.size)
  for (const scanned of scanBlobs(image)) {
    count += 1
    bytes += scanned.bytes
    onBytes(scanned.bytes)
    if (scanned.problem !== undefined) bad.push(scanned)
    const remark = remarkOn(scanned, recorded[scanned.blob])
    if (remark !== undefined && remarks.length < TOLD) remarks.push(remark)
    await setImmediate()
    signal?.throwIfAborted()
  }
  const verdict = {
    label,
    bytes,
    blobs: count,
    ...omitUndefined({
      stored: blobs && reportChunks(image, from),
      compressor: facts.compressor,
      remarks: remarks.length > 0 ? remarks : undefined,
    }),
  }
  const [first] = bad
  if (first === undefined) return { ...verdict, state: 'verified' }
  return {
    ...verdict,
    state: 'failed',
    badBlocks: bad.length,
    message: `${bad.length} of ${count} blobs are damaged, first ${first.name}: ${first.problem}`,
    damage: nameDamagedBlobs(image, new Set(bad.map(({ blob }) => blob))),
  }
}

/** A wrong fs-verity digest does no harm: the digest of the blob is what binds. */
function remarkOn(
  { name, fsVerity, problem }: ScannedBlob,
  recorded: string | undefined,
): string | undefined {
  if (recorded === undefined || problem !== undefined || fsVerity === recorded) return undefined
  return `blob ${name}: the image says fs-verity digest ${recorded || 'of another length'}, it is ${fsVerity}`
}
