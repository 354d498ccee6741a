import { FsError } from '../../src/base/index.ts'
import type { ByteQueue } from './byte-queue.ts'
import { number, RECORD } from './header.ts'
import type { PaxRecords } from './pax.ts'
import { paxSize } from './pax.ts'

/** Where the stored bytes of a file with holes belong (GNU tar manual, "Storing Sparse Files"). */
export interface SparseMap {
  /** Bytes of the file with its holes. */
  readonly size: number
  /** In order, none overlaps the next. */
  readonly pieces: readonly SparsePiece[]
}

export interface SparsePiece {
  readonly offset: number
  readonly length: number
}

/** A file of 4 TiB with a piece in every MiB. */
const PIECES_MAX = 1 << 22
const DIGITS_MAX = 20
const PIECES_IN_HEADER = 4
const PIECES_IN_RECORD = 21
const PIECE_SIZE = 24
const SIZE_FIELD = 12
const ZEROS = Buffer.alloc(1 << 16)

/** The map of type `S`: some pieces in the header, the others in records behind it. */
export async function oldSparseMap(record: Buffer, queue: ByteQueue): Promise<SparseMap> {
  const what = `map of a sparse file at byte ${queue.position}`
  const pieces = piecesOf(record, 386, PIECES_IN_HEADER, what)
  const size = number(record, 483, SIZE_FIELD, what)
  for (let more = record[482] !== 0; more; ) {
    const next = await queue.take(RECORD)
    if (next === undefined) throw new FsError('EIO', `${what}: the archive ends in it`)
    pieces.push(...piecesOf(next, 0, PIECES_IN_RECORD, what))
    if (pieces.length > PIECES_MAX) throw new FsError('EFBIG', `${what}: more than ${PIECES_MAX} pieces`)
    more = next[504] !== 0
  }
  return checked({ size, pieces }, what)
}

function piecesOf(record: Buffer, at: number, count: number, what: string): SparsePiece[] {
  const pieces: SparsePiece[] = []
  for (let i = 0; i < count; i++) {
    const start = at + i * PIECE_SIZE
    if (record[start] === 0) break
    pieces.push({
      offset: number(record, start, SIZE_FIELD, what),
      length: number(record, start + SIZE_FIELD, SIZE_FIELD, what),
    })
  }
  return pieces
}

/** The map of forms 0.0 and 0.1, which stands in the extended header. */
export function paxSparseMap(records: PaxRecords, entry: string): SparseMap | undefined {
  const text = records.get('GNU.sparse.map')
  const size = paxSize(records, 'GNU.sparse.size', entry)
  if (size === undefined || text === undefined) return undefined
  const numbers = text === '' ? [] : text.split(',').map(Number)
  return checked({ size, pieces: paired(numbers) }, `${entry}: its map`)
}

/** The map of form 1.0: lines of digits at the head of the content. @returns with the bytes that it took */
export async function headSparseMap(
  size: number,
  queue: ByteQueue,
): Promise<SparseMap & { readonly taken: number }> {
  const what = `map of a sparse file at byte ${queue.position}`
  const lines = new Lines(queue, what)
  const count = await lines.number()
  if (count > PIECES_MAX) throw new FsError('EFBIG', `${what}: more than ${PIECES_MAX} pieces`)
  const numbers: number[] = []
  for (let i = 0; i < count * 2; i++) numbers.push(await lines.number())
  return { ...checked({ size, pieces: paired(numbers) }, what), taken: lines.taken }
}

/** Numbers of one line each, in whole records. */
class Lines {
  readonly #queue: ByteQueue
  readonly #what: string
  #text = ''
  taken = 0

  constructor(queue: ByteQueue, what: string) {
    this.#queue = queue
    this.#what = what
  }

  async number(): Promise<number> {
    for (;;) {
      const end = this.#text.indexOf('\n')
      const line = this.#text.slice(0, end < 0 ? undefined : end)
      if (line.length > DIGITS_MAX || !/^\d*$/.test(line))
        throw new FsError('EINVAL', `${this.#what}: no number`)
      if (end >= 0) {
        this.#text = this.#text.slice(end + 1)
        return Number(line)
      }
      const record = await this.#queue.take(RECORD)
      if (record === undefined) throw new FsError('EIO', `${this.#what}: the archive ends in it`)
      this.taken += RECORD
      this.#text += record.toString('latin1')
    }
  }
}

function paired(numbers: readonly number[]): SparsePiece[] {
  const pieces: SparsePiece[] = []
  for (let i = 0; i < numbers.length; i += 2) {
    pieces.push({ offset: numbers[i] ?? 0, length: numbers[i + 1] ?? Number.NaN })
  }
  return pieces
}

function checked(map: SparseMap, what: string): SparseMap {
  let end = 0
  for (const { offset, length } of map.pieces) {
    const isPiece = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && length >= 0
    if (!(isPiece && offset >= end && Number.isSafeInteger(offset + length))) {
      throw new FsError('EINVAL', `${what}: piece of ${length} bytes at ${offset} after byte ${end}`)
    }
    end = offset + length
  }
  if (!(end <= map.size))
    throw new FsError('EINVAL', `${what}: ends at ${end}, behind the file of ${map.size} bytes`)
  return map
}

/** Bytes that are stored for a file with this map. */
export function storedSize({ pieces }: SparseMap): number {
  return pieces.reduce((sum, { length }) => sum + length, 0)
}

/** Bytes of a file, and where they belong. */
export interface PlacedBytes {
  readonly offset: number
  readonly bytes: Uint8Array
}

/** The content without its holes, which may be of any size. */
export async function* placed({ pieces }: SparseMap, queue: ByteQueue): AsyncGenerator<PlacedBytes> {
  for (const { offset, length } of pieces) {
    let at = offset
    for await (const bytes of queue.stream(length)) {
      yield { offset: at, bytes }
      at += bytes.length
    }
  }
}

/** The content with its holes as zeros. */
export async function* filled({ size, pieces }: SparseMap, queue: ByteQueue): AsyncGenerator<Uint8Array> {
  let at = 0
  for (const { offset, length } of pieces) {
    yield* zeros(offset - at)
    yield* queue.stream(length)
    at = offset + length
  }
  yield* zeros(size - at)
}

function* zeros(length: number): Generator<Uint8Array> {
  for (let left = length; left > 0; left -= ZEROS.length)
    yield ZEROS.subarray(0, Math.min(left, ZEROS.length))
}
