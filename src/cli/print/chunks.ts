import type { ChunkReport } from '../../molecule/index.ts'
import { formatBytes } from './format.ts'

/** What the blobs of an image take, for people. */
export function describeChunks({ count, storedBytes, missing, uniqueBytes, otherTags }: ChunkReport): string {
  const parts = [`${count} chunks of ${formatBytes(storedBytes)}`]
  if (missing > 0) parts.push(`${missing} of them missing`)
  if (otherTags > 0) parts.push(`${formatBytes(uniqueBytes)} in no other of ${otherTags} tags`)
  return parts.join(', ')
}

/** @param compressor as in `ImageFacts` */
export function describeCompressor(compressor = 'none'): string {
  return compressor === 'none' ? 'not compressed' : `compressed with ${compressor}`
}
