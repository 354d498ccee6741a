import { mayPostpone, ReadPostponed, type Steps, Work } from './background.ts'
import { type Piece, pieceFor } from './byte-source.ts'
import type { SourceId } from './id.ts'

/** Pieces that one request keeps. Older ones were used long ago: walks go on from where they came to. */
const PIECES_MAX = 64
/** How often a request is put off. One that is not through by then is handled in one go. */
const ROUNDS_MAX = 50_000

/** What a request takes along from one attempt to the next: what was brought for it stays until it was handled. */
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

  /** Whether a piece from there was brought once and had to make room: whoever wants it again reads it himself. */
  wasDropped(source: SourceId, position: number): boolean {
    return this.#dropped.has(`${source}:${position}`)
  }

  /** Counts that the request is put off. */
  countRound(): void {
    this.#rounds += 1
  }

  get isTired(): boolean {
    return this.#rounds >= ROUNDS_MAX
  }
}

/** Milliseconds that others wait for a long walk, and for each further one that is under way. */
const SLICE_MS = 10
/** Milliseconds that others have then. A client that waits for each answer sends several requests in that time. */
const OTHERS_MS = 2

function* othersFirst(): Steps {
  const end = performance.now() + OTHERS_MS
  do yield 'more'
  while (performance.now() < end)
}

/**
 * What the dispatcher may do at this moment: put off the request that it handles, or not. Outside of requests, and within
 * `changing`, whoever needs something that is not at hand waits for it. One for each dispatcher.
 */
export class Turn {
  readonly #sliceMs: number
  /** When the walks of the request began, on the clock of `performance.now`. */
  #walksSince: number | undefined
  #baggage: Baggage | undefined
  #inRequest = false

  /** @param sliceMs milliseconds of long walks after which other requests are served */
  constructor(sliceMs = SLICE_MS) {
    this.#sliceMs = sliceMs
  }

  /** A request begins, or a step of the work that it waits for. @param baggage of an earlier attempt */
  begin(baggage?: Baggage): void {
    this.#baggage = baggage
    this.#inRequest = true
    this.#walksSince = undefined
  }

  /** The request was handled, or put off. */
  end(): void {
    this.#inRequest = false
    this.#baggage = undefined
  }

  /** What was brought for the request; undefined where nobody can be put off. */
  get postponable(): Baggage | undefined {
    if (!this.#inRequest || !mayPostpone()) return undefined
    this.#baggage ??= new Baggage()
    return this.#baggage.isTired ? undefined : this.#baggage
  }

  /**
   * Called by a long walk where it can go on later. The first call in a request never throws, so each attempt gets on.
   * @throws ReadPostponed where others have waited long enough
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

  /** To keep for the next attempt. */
  get baggage(): Baggage | undefined {
    return this.#baggage
  }
}
