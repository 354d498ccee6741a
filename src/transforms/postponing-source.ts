import {
  type Baggage,
  type ByteSource,
  checkRange,
  type Fetcher,
  FsError,
  type Piece,
  pieceFor,
  ReadPostponed,
  type Steps,
  type Turn,
  Work,
} from '../base/index.ts'

/**
 * Pieces kept after their request, 1 MiB: some file systems cannot say what is in the page cache, and other requests
 * need the same pieces.
 */
const KEPT_PIECES = 16

/**
 * How long the dispatcher looks again, ms: most disks answer sooner, and the way to a worker and back takes longer. Its
 * question whether bytes are at hand has made the kernel read them (since Linux 6.12; before, each look is in vain).
 */
export const LOOK_MS = 0.3
/** How long it does not look after it has looked in vain, ms: a slow disk costs other requests one look in this time. */
export const NO_LOOK_MS = 100

/** What one dispatcher needs to read images without waiting for a disk. */
export class Patience {
  readonly turn: Turn
  readonly fetcher: Fetcher
  /** The pieces fetched last, of all images. */
  readonly kept: Piece[] = []
  readonly #now: () => number
  /** Time before which the dispatcher does not look. */
  #looksFrom = Number.NEGATIVE_INFINITY

  /** @param now a clock, milliseconds */
  constructor(turn: Turn, fetcher: Fetcher, now: () => number = () => performance.now()) {
    this.turn = turn
    this.fetcher = fetcher
    this.#now = now
  }

  /** Looks for bytes that were not at hand a moment ago. @returns true where they have come */
  looksAgain(isAtHand: () => boolean): boolean {
    const start = this.#now()
    if (start < this.#looksFrom) return false
    const end = start + LOOK_MS
    for (let now = start; now < end; now = this.#now()) if (isAtHand()) return true
    this.#looksFrom = end + NO_LOOK_MS
    return false
  }

  keep(piece: Piece): void {
    // An error is not kept: a disk that failed may work again.
    if (piece.content instanceof FsError || this.kept.includes(piece)) return
    this.kept.push(piece)
    if (this.kept.length > KEPT_PIECES) this.kept.shift()
  }
}

/**
 * The file of an image for a dispatcher, which must not wait for a disk. Another thread reads what is not in the page
 * cache and does not come in a moment, and the request is postponed until then. The source lies below all transforms: hash blocks are fetched in the
 * same way, and fetched pieces are verified like all other bytes.
 */
export class PostponingSource implements ByteSource {
  readonly size: number
  readonly label: string
  readonly #source: ByteSource
  readonly #id: number
  readonly #patience: Patience

  /** @param id index of the image, as the fetching threads know it */
  constructor(source: ByteSource, id: number, patience: Patience) {
    this.size = source.size
    this.label = source.label
    this.#source = source
    this.#id = id
    this.#patience = patience
  }

  /** @throws ReadPostponed while the turn may postpone a request; FsError EIO */
  readInto(position: number, target: Uint8Array): void {
    checkRange(this, position, target.length)
    const { turn, fetcher } = this.#patience
    const baggage = turn.postponable
    if (baggage === undefined) {
      this.#source.readInto(position, target)
      return
    }
    for (let done = 0; done < target.length; done += fetcher.most) {
      this.#readPiece(baggage, position + done, target.subarray(done, done + fetcher.most))
    }
  }

  #readPiece(baggage: Baggage, position: number, target: Uint8Array): void {
    const piece = baggage.find(this.#id, position, target.length)
    if (piece !== undefined) this.#take(piece, position, target)
    else if (this.isAtHand(position, target.length)) this.#source.readInto(position, target)
    else this.#postpone(baggage, position, target)
  }

  isAtHand(position: number, length: number): boolean {
    return this.#source.isAtHand?.(position, length) !== false
  }

  willNeed(position: number, length: number): void {
    this.#source.willNeed?.(position, length)
  }

  close(): void {
    this.#source.close?.()
  }

  #postpone(baggage: Baggage, position: number, target: Uint8Array): void {
    const patience = this.#patience
    const kept = pieceFor(patience.kept, this.#id, position, target.length)
    if (kept !== undefined) this.#take(kept, position, target)
    else if (
      !patience.fetcher.ready ||
      baggage.wasDropped(this.#id, position) ||
      patience.looksAgain(() => this.isAtHand(position, target.length))
    )
      this.#source.readInto(position, target)
    else {
      baggage.countRound()
      throw new ReadPostponed(new Work(this.#bring(baggage, position, target.length)))
    }
  }

  #take({ position: start, content }: Piece, position: number, target: Uint8Array): void {
    if (content instanceof FsError) {
      throw new FsError('EIO', `${this.label}: ${content.message}`, { cause: content })
    }
    target.set(content.subarray(position - start, position - start + target.length))
  }

  *#bring(baggage: Baggage, position: number, length: number): Steps {
    const { fetcher } = this.#patience
    const fetch = fetcher.fetch(this.#id, position, length)
    let piece = fetch.poll()
    while (piece === undefined) {
      yield 'waiting'
      // Several reads of a request may wait at once, and the piece of one may hold what another one wants.
      if (baggage.find(this.#id, position, length) !== undefined) return
      piece = fetch.poll()
    }
    baggage.add(piece)
    this.#patience.keep(piece)
  }
}
