import { type ByteSource, FsError } from '../base/index.ts'
import type { VerityFailure } from './failure.ts'
import { dataBlocksUnder } from './geometry.ts'
import { HashTree } from './hash-tree.ts'
import type { VerityTable } from './table.ts'

/** Bytes read at a time. */
const CHUNK_BYTES = 1 << 20
const DEFAULT_LIST_LIMIT = 100

/** Which blocks are compared with the root hash. */
export interface ScanOptions {
  /** The image as it lies on disk. */
  readonly source: ByteSource
  /** Where the hash tree is, if not in the same file. */
  readonly hashSource?: ByteSource
  /** `VerifiedSource.table`. */
  readonly table: VerityTable
  /** First data block; 0 by default. */
  readonly from?: number
  /** The data block after the last one; all by default. */
  readonly to?: number
  /** Most entries of each list in the report. */
  readonly listLimit?: number
  /** Called about once per MiB with the number of data blocks done, and of those to do. */
  readonly onProgress?: (done: number, total: number) => void
}

/** A data block that could not be compared because the disk failed, on it or on the hash blocks above. */
export interface UnreadableBlock {
  readonly block: number
  /** Byte position in the image. */
  readonly position: number
  readonly message: string
}

/** What comparing a range of blocks has shown. Numbers of blocks from `from` to `to`, itself left out. */
export interface ScanReport {
  readonly from: number
  readonly to: number
  /** Data blocks in the range that are not proven good, those under a damaged hash block included. */
  readonly badBlocks: number
  /** Damaged blocks in the order they were met, each once, at most `listLimit`. */
  readonly failures: readonly VerityFailure[]
  /** At most `listLimit`. */
  readonly unreadable: readonly UnreadableBlock[]
  /** Whether a list is shorter than what was found. */
  readonly truncated: boolean
}

/**
 * Compares all data blocks of a range with the tree and goes on after damage. Synchronous and long: give each
 * thread a range of its own (`splitBlocks`) and join the reports (`mergeReports`).
 * @throws FsError EIO, EINVAL only for a range or table outside the format; damage is in the report
 */
export function verifyRange(options: ScanOptions): ScanReport {
  const { source, hashSource = source, table, listLimit = DEFAULT_LIST_LIMIT, onProgress } = options
  const { from = 0, to = table.dataBlocks } = options
  if (
    !Number.isSafeInteger(from) ||
    !Number.isSafeInteger(to) ||
    from < 0 ||
    to < from ||
    to > table.dataBlocks
  ) {
    throw new FsError('EINVAL', `layer ${source.label}: blocks ${from}..${to} of ${table.dataBlocks}`)
  }
  const scan = new Scan(source, new HashTree(hashSource, table, source.label), listLimit)
  const blocksPerChunk = CHUNK_BYTES / table.dataBlockSize
  for (let block = from; block < to; ) {
    block = Math.min(to, scan.chunk(block, Math.min(to, block + blocksPerChunk), to))
    onProgress?.(block - from, to - from)
  }
  return { from, to, ...scan.found() }
}

/** Ranges of whole hash blocks, so that no two threads hash the same one next to the data. */
export function splitBlocks(
  table: VerityTable,
  parts: number,
): { readonly from: number; readonly to: number }[] {
  // 128 digests of 32 bytes in 4 KiB: other geometries only make the cut less exact, not wrong.
  const unit = 128
  const size = Math.max(unit, Math.ceil(table.dataBlocks / Math.max(1, parts) / unit) * unit)
  const ranges = []
  for (let from = 0; from < table.dataBlocks; from += size) {
    ranges.push({ from, to: Math.min(table.dataBlocks, from + size) })
  }
  return ranges
}

/** Joins the reports of adjacent ranges. A hash block that several ranges found damaged is listed once. */
export function mergeReports(reports: readonly ScanReport[]): ScanReport {
  const failures = new Map<string, VerityFailure>()
  for (const failure of reports.flatMap((report) => report.failures)) {
    failures.set(`${failure.kind} ${failure.position}`, failure)
  }
  return {
    from: Math.min(...reports.map((report) => report.from)),
    to: Math.max(...reports.map((report) => report.to)),
    badBlocks: reports.reduce((sum, report) => sum + report.badBlocks, 0),
    failures: [...failures.values()],
    unreadable: reports.flatMap((report) => report.unreadable),
    truncated: reports.some((report) => report.truncated),
  }
}

class Scan {
  readonly #source: ByteSource
  readonly #tree: HashTree
  readonly #listLimit: number
  readonly #buffer = new Uint8Array(CHUNK_BYTES)
  readonly #failures: VerityFailure[] = []
  readonly #unreadable: UnreadableBlock[] = []
  #badBlocks = 0
  #truncated = false

  constructor(source: ByteSource, tree: HashTree, listLimit: number) {
    this.#source = source
    this.#tree = tree
    this.#listLimit = listLimit
  }

  found(): Omit<ScanReport, 'from' | 'to'> {
    return {
      badBlocks: this.#badBlocks,
      failures: this.#failures,
      unreadable: this.#unreadable,
      truncated: this.#truncated,
    }
  }

  /**
   * Compares the blocks [from, to), which fit into the buffer.
   * @param limit end of the whole range: under a damaged hash block, blocks are passed over as far as this
   * @returns the first block not dealt with
   */
  chunk(from: number, to: number, limit: number): number {
    const { dataBlockSize } = this.#tree.geometry
    const chunk = this.#buffer.subarray(0, (to - from) * dataBlockSize)
    try {
      this.#source.readInto(from * dataBlockSize, chunk)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      // Find out which blocks of the chunk the disk still gives.
      if (to - from > 1) return this.chunk(from, from + Math.ceil((to - from) / 2), limit)
      this.#addUnreadable(from, error)
      return to
    }
    let block = from
    while (block < to) {
      const at = (block - from) * dataBlockSize
      block = this.#check(block, chunk.subarray(at, at + dataBlockSize), limit)
    }
    return block
  }

  #check(block: number, bytes: Uint8Array, limit: number): number {
    let failure: VerityFailure | undefined
    try {
      failure = this.#tree.checkData(block, bytes)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      this.#addUnreadable(block, error)
      return block + 1
    }
    if (failure === undefined) return block + 1
    let next = block + 1
    if (failure.level !== undefined) {
      // Nothing below a damaged hash block can be proven: report it once and go on behind it.
      next = Math.min(limit, (failure.block + 1) * dataBlocksUnder(this.#tree.geometry, failure.level))
    }
    this.#badBlocks += next - block
    this.#list(this.#failures, failure)
    return next
  }

  #addUnreadable(block: number, error: FsError): void {
    this.#badBlocks += 1
    const position = block * this.#tree.geometry.dataBlockSize
    this.#list(this.#unreadable, { block, position, message: error.message })
  }

  #list<T>(list: T[], entry: T): void {
    if (list.length < this.#listLimit) list.push(entry)
    else this.#truncated = true
  }
}
