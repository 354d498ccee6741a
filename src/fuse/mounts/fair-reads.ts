import { ReadPostponed, type Steps, Work } from '../../base/index.ts'
import type { Asker } from '../blocks/jobs.ts'
import type { FairReader } from '../blocks/pooled-data-path.ts'
import type { MountTable } from './mount-table.ts'

/** What a READ costs beside its bytes: many small ones are work, too. */
const COST = 16 << 10

/** What a mount that has rested may get before the others, bytes. */
const CREDIT = 2 << 20

/** One mount, as the order of READs sees it. */
export interface MountReader extends FairReader {
  /** READs of the mount that wait for their turn. */
  readonly waiting: number
  /** The mount has ended. */
  close(): void
}

/**
 * Which READ goes to the workers next, over all mounts of a server. Only so many jobs are under way as keep the workers
 * busy; further READs wait in a line of their mount. The mount that got the fewest bytes comes first. One that comes out of
 * a rest counts as if it had got a little less than the one that is served now: so a small reader waits for jobs under
 * way, and never for the lines of heavy ones. Used by the dispatcher.
 */
export class FairReads {
  readonly #table: MountTable
  readonly #most: number
  readonly #lines = new Set<Line>()
  /** Bytes of the line that was served last, on the clock that all lines share. */
  #now = 0

  /** @param most jobs of READs to be under way */
  constructor(table: MountTable, most: number) {
    this.#table = table
    this.#most = most
  }

  /** True where READs wait until a worker ends a job. */
  get isWaiting(): boolean {
    return this.#lines.size > 0
  }

  /** Adds a mount. */
  reader(asker: Asker): MountReader {
    return new Line(this, asker)
  }

  /** The mount whose READ is next; undefined where none waits, or the workers have enough to do. */
  next(): MountReader | undefined {
    if (!this.#hasRoom()) return undefined
    let next: Line | undefined
    for (const line of this.#lines) if (next === undefined || line.time < next.time) next = line
    return next
  }

  /** For a line. @returns true where a READ need not wait */
  isFree(): boolean {
    return this.#lines.size === 0 && this.#hasRoom()
  }

  /** For a line: it has READs that wait, or none any more. */
  queue(line: Line, isWaiting: boolean): void {
    if (!isWaiting) this.#lines.delete(line)
    else {
      if (!this.#lines.has(line)) line.time = Math.max(line.time, this.#now - CREDIT)
      this.#lines.add(line)
    }
  }

  /** For a line: a READ of it goes to the workers. */
  begin(line: Line, bytes: number): void {
    line.time = Math.max(line.time, this.#now - CREDIT)
    this.#now = Math.max(this.#now, line.time)
    line.time += bytes + COST
    this.#table.begin(line.asker.mount)
  }

  #hasRoom(): boolean {
    return this.#table.allUnderWay < this.#most
  }
}

class Line implements MountReader {
  readonly asker: Asker
  /** Bytes that the mount got; the least goes first. */
  time = 0
  readonly #fair: FairReads
  /** Works of READs that wait, oldest first. */
  readonly #works: Work[] = []
  /** A READ was told that it is its turn, and is handled again now. */
  #isAdmitted = false

  constructor(fair: FairReads, asker: Asker) {
    this.#fair = fair
    this.asker = asker
  }

  get waiting(): number {
    return this.#works.length
  }

  pass(): void {
    if (this.#isAdmitted || this.#fair.isFree()) {
      this.#isAdmitted = false
      return
    }
    const work: Work = new Work(this.#untilTurn(() => work))
    this.#works.push(work)
    this.#fair.queue(this, true)
    throw new ReadPostponed(work, () => this.#leave(work))
  }

  begin(bytes: number): void {
    this.#fair.begin(this, bytes)
  }

  close(): void {
    this.#works.length = 0
    this.#fair.queue(this, false)
  }

  *#untilTurn(own: () => Work): Steps {
    while (this.#works[0] !== own() || this.#fair.next() !== this) yield 'waiting'
    this.#leave(own())
    this.#isAdmitted = true
  }

  #leave(work: Work): void {
    const at = this.#works.indexOf(work)
    if (at >= 0) this.#works.splice(at, 1)
    if (this.#works.length === 0) this.#fair.queue(this, false)
  }
}
