import { type ByteSource, checkRange, FsError } from '../base/index.ts'
import type { FilePiece } from '../crypt/index.ts'

/** A piece, and where it begins in the file. */
interface Placed extends FilePiece {
  readonly start: number
}

/** A file that another source stores in pieces, such as one in an image that is not compressed. */
export class PiecesSource implements ByteSource {
  readonly size: number
  readonly label: string
  readonly #source: ByteSource
  readonly #pieces: readonly Placed[]

  /** @throws FsError EIO where a piece does not lie in the source */
  constructor(source: ByteSource, pieces: readonly FilePiece[]) {
    let start = 0
    this.#pieces = pieces.map(({ position, length }) => {
      if (position !== undefined) checkRange(source, position, length)
      const placed = { start, length, ...(position === undefined ? {} : { position }) }
      start += length
      return placed
    })
    this.size = start
    this.label = source.label
    this.#source = source
  }

  readInto(position: number, target: Uint8Array): void {
    checkRange(this, position, target.length)
    this.#each(position, target.length, (at, length, from) => {
      const part = target.subarray(from, from + length)
      if (at === undefined) part.fill(0)
      else this.#source.readInto(at, part)
    })
  }

  isAtHand(position: number, length: number): boolean {
    let isThere = true
    this.#each(position, length, (at, count) => {
      isThere &&= at === undefined || this.#source.isAtHand?.(at, count) !== false
    })
    return isThere
  }

  willNeed(position: number, length: number): void {
    this.#each(position, length, (at, count) => {
      if (at !== undefined) this.#source.willNeed?.(at, count)
    })
  }

  close(): void {
    this.#source.close?.()
  }

  /** @param visit gets where a part of the range lies, how long it is, and where it begins in the range */
  #each(
    position: number,
    length: number,
    visit: (at: number | undefined, length: number, from: number) => void,
  ): void {
    const end = Math.min(position + length, this.size)
    for (let i = this.#find(position), at = position; at < end; i++) {
      const piece = this.#pieces[i]
      if (piece === undefined) throw new FsError('EIO', `${this.label}: no piece for byte ${at}`)
      const skip = at - piece.start
      const count = Math.min(piece.length - skip, end - at)
      visit(piece.position === undefined ? undefined : piece.position + skip, count, at - position)
      at += count
    }
  }

  /** Index of the piece that holds a byte. */
  #find(position: number): number {
    let low = 0
    let high = this.#pieces.length - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((this.#pieces[middle]?.start ?? 0) <= position) low = middle
      else high = middle - 1
    }
    return low
  }
}
