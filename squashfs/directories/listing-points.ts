import { LruCache } from '../../src/base/index.ts'
import type { ListingPoint, ListingRange } from './listing-range.ts'

/** Bytes of a listing between two points, at first. */
const FIRST_STRIDE = 64 << 10
const POINTS_MAX = 1024
/** Points kept in all, over all directories that were read lately: up to 400 bytes each. */
const MEMO_POINTS = 16 * 1024

/** A header of the listing, and the name of the first entry after it. */
interface NamedPoint {
  readonly point: ListingPoint
  readonly name: Buffer
}

/**
 * Headers of one large listing, met by those who walked it in the order of names: what the index of a directory is,
 * for the directories that have none, or a useless one. Where there would be too many points, every second one is
 * dropped and the stride doubled.
 */
export class ListingPoints {
  #points: NamedPoint[] = []
  #stride = FIRST_STRIDE

  get count(): number {
    return this.#points.length
  }

  /** Whether a header at this offset of the listing would be a new point. */
  wants(position: number): boolean {
    const at = this.#firstFrom(position)
    const before = this.#points[at - 1]?.point.position ?? 0
    const after = this.#points[at]?.point.position ?? Number.POSITIVE_INFINITY
    return position - before >= this.#stride && after - position >= this.#stride
  }

  /** @param name first after the header, and greater than every name before it; copied */
  add(point: ListingPoint, name: Uint8Array): void {
    this.#points.splice(this.#firstFrom(point.position), 0, { point, name: Buffer.from(name) })
    if (this.#points.length < POINTS_MAX) return
    this.#points = this.#points.filter((_, at) => at % 2 === 1)
    this.#stride *= 2
  }

  /** The part of the range in which the name must lie. */
  narrowToName(range: ListingRange, name: Buffer): ListingRange {
    return this.#narrow(range, (candidate) => name.compare(candidate.name))
  }

  /** The same for an offset in the listing. */
  narrowToPosition(range: ListingRange, position: number): ListingRange {
    return this.#narrow(range, (candidate) => position - candidate.point.position)
  }

  #narrow({ start, limit }: ListingRange, compare: (candidate: NamedPoint) => number): ListingRange {
    const low = this.#countWhere((candidate) => compare(candidate) > 0)
    const before = this.#points[low - 1]?.point
    // A point of the same name is no limit: the name itself stands after it.
    const beyond = this.#points.slice(low, low + 2).find((candidate) => compare(candidate) < 0)?.point
    return {
      start: before !== undefined && before.position > start.position ? before : start,
      limit: Math.min(limit, beyond?.position ?? limit),
    }
  }

  #firstFrom(position: number): number {
    return this.#countWhere(({ point }) => point.position < position)
  }

  /** How many points at the beginning satisfy a condition that holds for a beginning only. */
  #countWhere(holds: (candidate: NamedPoint) => boolean): number {
    let low = 0
    let high = this.#points.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const candidate = this.#points[middle]
      if (candidate !== undefined && holds(candidate)) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** The points of the directories used lately, by inode reference. Bounded in points. */
export class ListingPointsMemo {
  readonly #directories = new LruCache<number, ListingPoints>(MEMO_POINTS)

  /** @param size bytes of the listing. @returns undefined where it is too small to need points */
  of(ref: number, size: number): ListingPoints | undefined {
    if (size < 2 * FIRST_STRIDE) return undefined
    const points = this.#directories.get(ref) ?? new ListingPoints()
    // Points that come later are counted at the next call.
    this.#directories.set(ref, points, points.count + 1)
    return points
  }
}
