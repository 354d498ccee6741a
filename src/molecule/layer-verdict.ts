import type { ChunkReport } from './blobs/chunk-report.ts'
import type { DamageReport } from './damage.ts'
import type { Verdict } from './verify-signatures.ts'

/** Verdict on one layer. */
export interface LayerVerdict extends Verdict {
  /** Damaged blocks, in order of position, at most 100. */
  readonly blocks?: readonly {
    readonly position: number
    readonly expected: string
    readonly actual: string
  }[]
  readonly badBlocks?: number
  /** Of an image of many blobs: how many were read. */
  readonly blobs?: number
  /** What these take, and what of it is the image's alone. */
  readonly stored?: ChunkReport
  /** What they are compressed with, as far as some of the files tell; `none` where they are not. */
  readonly compressor?: string
  /** What is wrong and does no harm, a line each, at most 100. */
  readonly remarks?: readonly string[]
  readonly damage?: DamageReport
}
