import type { Name } from '../../../src/base/index.ts'
import type { HostInode } from '../../../src/sys/files/statx.ts'

/**
 * First cookie of names that only the upper has. The last one is below 2^31: 32-bit programs get EOVERFLOW for larger
 * ones (glibc: getdents.c), and ext4 has no more bits for its cookies.
 */
export const FIRST_UPPER = 2 ** 30
/** Number of such cookies: a prime, so that steps of any length reach all of them. */
const COOKIES = 2 ** 30 - 35

/** A number from 0 to `COOKIES - 1`: the cookie to try for a name at attempt 0, 1, …. */
export type NameHash = (name: Name, attempt: number) => number

/** What a listing shows of a name: inode number and DT_*. */
export interface Shown {
  readonly ino: number
  readonly type: number
  /** Inode number in the upper, 0 where it is not known. */
  readonly upperIno: HostInode
}

export interface UpperName extends Shown {
  readonly name: Name
  readonly cookie: number
}

/**
 * The names of one directory that only the upper has, in the order of their cookies. A cookie is the hash of the name,
 * so it stays the same when the names are dropped and read again. Of two names with one hash, the later one gets
 * another cookie and keeps it as long as it exists, also after the first one is removed. (The order is not known for
 * names that were made while no listing of their directory was kept.)
 */
export class UpperNames {
  readonly #hash: NameHash
  /** Cookies of names that differ from the first hash of their name. The map outlives this object. */
  readonly #displaced: Map<Name, number>
  #sorted: UpperName[] = []

  constructor(hash: NameHash, displaced: Map<Name, number>) {
    this.#hash = hash
    this.#displaced = displaced
  }

  get length(): number {
    return this.#sorted.length
  }

  /** The names after a cookie. */
  *after(cookie: number): Iterable<UpperName> {
    for (let i = this.#indexAfter(cookie); i < this.#sorted.length; i++) {
      const one = this.#sorted[i]
      if (one !== undefined) yield one
    }
  }

  /** Replaces all names. */
  fill(names: ReadonlyMap<Name, Shown | undefined>): void {
    this.#sorted = []
    for (const name of this.#displaced.keys()) {
      if (names.get(name) === undefined) this.#displaced.delete(name)
    }
    this.change(names)
  }

  /** @param changes what each of these names shows from now on; undefined for removed names */
  change(changes: ReadonlyMap<Name, Shown | undefined>): void {
    if (changes.size === 0) return
    const cookies = new Map<Name, number>()
    const kept: UpperName[] = []
    for (const one of this.#sorted) {
      if (changes.has(one.name)) cookies.set(one.name, one.cookie)
      else kept.push(one)
    }
    const taken = new Set<number>()
    const fresh: Name[] = []
    for (const [name, shown] of changes) {
      if (shown === undefined) {
        this.#displaced.delete(name)
        continue
      }
      const cookie = cookies.get(name) ?? this.#displaced.get(name)
      if (cookie === undefined) fresh.push(name)
      else {
        cookies.set(name, cookie)
        taken.add(cookie)
      }
    }
    this.#sorted = kept
    for (const name of fresh) cookies.set(name, this.#place(name, taken))
    const added: UpperName[] = []
    for (const [name, shown] of changes) {
      const cookie = cookies.get(name)
      if (shown !== undefined && cookie !== undefined) added.push({ name, cookie, ...shown })
    }
    this.#sorted = merge(kept, added.sort(byCookie))
  }

  /** A free cookie for a new name. */
  #place(name: Name, taken: Set<number>): number {
    for (let attempt = 0; ; attempt++) {
      const cookie = FIRST_UPPER + this.#hash(name, attempt)
      if (taken.has(cookie) || this.#sorted[this.#indexAfter(cookie - 1)]?.cookie === cookie) continue
      taken.add(cookie)
      if (attempt > 0) this.#displaced.set(name, cookie)
      return cookie
    }
  }

  #indexAfter(cookie: number): number {
    let low = 0
    let high = this.#sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#sorted[middle]?.cookie ?? 0) <= cookie) low = middle + 1
      else high = middle
    }
    return low
  }
}

function byCookie(a: UpperName, b: UpperName): number {
  return a.cookie - b.cookie
}

/** Merges two sorted lists. */
function merge(a: readonly UpperName[], b: readonly UpperName[]): UpperName[] {
  if (a.length === 0) return [...b]
  const all: UpperName[] = []
  let at = 0
  for (const one of b) {
    for (let next = a[at]; next !== undefined && next.cookie < one.cookie; next = a[++at]) all.push(next)
    all.push(one)
  }
  for (let next = a[at]; next !== undefined; next = a[++at]) all.push(next)
  return all
}

/**
 * Two multiplicative hashes: the first gives the cookie, the second the step to the next one. Each mount has other
 * start values, so that a user cannot choose names that collide.
 */
export function randomHash(): NameHash {
  const [first, second] = [randomWord(), randomWord()]
  return (name, attempt) => {
    let a = first
    let b = second
    for (let i = 0; i < name.length; i++) {
      const byte = name.charCodeAt(i)
      a = Math.imul(a ^ byte, 0x0100_0193)
      a ^= a >>> 15
      b = Math.imul(b ^ byte, 0x5bd1_e995)
      b ^= b >>> 13
    }
    a = Math.imul(a ^ (a >>> 16), 0x85eb_ca6b)
    a ^= a >>> 13
    return ((a >>> 0) + attempt * (1 + ((b >>> 0) % (COOKIES - 1)))) % COOKIES
  }
}

function randomWord(): number {
  return (Math.random() * 2 ** 32) | 0
}
