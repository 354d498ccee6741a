import { mayPostpone, ReadPostponed, type Steps, Work } from './background.ts'
import type { SourceId } from './id.ts'
import { type Piece, pieceFor } from './sources/byte-source.ts'

/** Most pieces that one request keeps. A walk goes on from where it stopped, so it needs the oldest pieces no more. */
const PIECES_MAX = 64
/** How often a request is postponed at most. After that the dispatcher handles it in one go. */
const ROUNDS_MAX = 50_000

/** What a request takes along from one attempt to the next: the pieces that were fetched for it. */
export class Baggage {
  readonly #pieces: Piece[] = []
  readonly #dropped = new Set<string>()
  #rounds = 0

  add(piece: Piece): void {
    this.#pieces.push(piece)
    if (this.#pieces.length <= PIECES_MAX) return
    const oldest = this.#pieces.shift()
    if (oldest !== undefined) this.#dropped.add(`${oldest.source}:${oldest.position}`)
  }

  find(source: SourceId, position: number, length: number): Piece | undefined {
    return pieceFor(this.#pieces, source, position, length)
  }

  /**
   * True where a piece from there was fetched and later dropped. The next read of it does not postpone the request
   * again.
   */
  wasDropped(source: SourceId, position: number): boolean {
    return this.#dropped.has(`${source}:${position}`)
  }

  /** Counts one more time that the request is postponed. */
  countRound(): void {
    this.#rounds += 1
  }

  get isTired(): boolean {
    return this.#rounds >= ROUNDS_MAX
  }
}

/** Milliseconds that other requests wait for a long walk, and again for each further walk under way. */
const SLICE_MS = 10
/**
 * Milliseconds for other requests between two slices. A client that waits for each answer sends several in that time.
 */
const OTHERS_MS = 2

function* othersFirst(): Steps {
  const end = performance.now() + OTHERS_MS
  do yield 'more'
  while (performance.now() < end)
}

/**
 * Whether the dispatcher may postpone the request that it handles. Outside of requests, and within `changing`, reads
 * wait for their bytes instead. Each dispatcher has one object of this class.
 */
export class Turn {
  readonly #sliceMs: number
  /** Time of the first `pause` in this attempt, on the clock of `performance.now`. */
  #walksSince: number | undefined
  #baggage: Baggage | undefined
  #inRequest = false

  /** @param sliceMs milliseconds of long walks after which other requests are served */
  constructor(sliceMs = SLICE_MS) {
    this.#sliceMs = sliceMs
  }

  /** Begins a request, or a step of the work that it waits for. @param baggage of an earlier attempt */
  begin(baggage?: Baggage): void {
    this.#baggage = baggage
    this.#inRequest = true
    this.#walksSince = undefined
  }

  /** Ends what `begin` began: the request is answered or postponed. */
  end(): void {
    this.#inRequest = false
    this.#baggage = undefined
  }

  /** The pieces fetched for the request; undefined where it must not be postponed. */
  get postponable(): Baggage | undefined {
    if (!this.#inRequest || !mayPostpone()) return undefined
    this.#baggage ??= new Baggage()
    return this.#baggage.isTired ? undefined : this.#baggage
  }

  /**
   * A long walk calls this where it can go on later. The first call in an attempt never throws, so each attempt makes
   * progress.
   * @throws ReadPostponed where other requests have waited long enough
   */
  pause(): void {
    const baggage = this.postponable
    if (baggage === undefined) return
    const now = performance.now()
    if (this.#walksSince === undefined) {
      this.#walksSince = now
      return
    }
    if (now - this.#walksSince < this.#sliceMs) return
    this.#walksSince = undefined
    baggage.countRound()
    throw new ReadPostponed(new Work(othersFirst()))
  }

  /** The pieces to keep for the next attempt. */
  get baggage(): Baggage | undefined {
    return this.#baggage
  }
}
