import type { Name } from '../../../src/base/index.ts'
import type { HostInode } from '../../../src/sys/files/statx.ts'

/**
 * Cookies of names that only the upper has begin here and end below 2^31: 32-bit programs get EOVERFLOW for more
 * (glibc: getdents.c), and ext4 has no more bits for them either.
 */
export const FIRST_UPPER = 2 ** 30
/** How many there are: a prime, so that steps of any length lead to all of them. */
const COOKIES = 2 ** 30 - 35

/** A number from 0 to `COOKIES - 1`: the place to try for a name at the `attempt`-th time, counted from 0. */
export type NameHash = (name: Name, attempt: number) => number

/** What a name shows without being looked at: number and DT_*. */
export interface Shown {
  readonly ino: number
  readonly type: number
  /** Its inode number in the upper, 0 where that is not known. */
  readonly upperIno: HostInode
}

export interface UpperName extends Shown {
  readonly name: Name
  readonly cookie: number
}

/**
 * The names of one directory that only the upper has, in the order of their cookies. A cookie is the hash of the name,
 * so it is the same when the names were dropped and read again. Names of one hash get different ones: whoever comes
 * later gets another place and keeps it as long as the name is there, whatever becomes of the name that was first. (Who
 * came later is not known of names that were made while no listing of their directory was kept.)
 */
export class UpperNames {
  readonly #hash: NameHash
  /** Cookies of names that did not get the place of their hash; outlives this object. */
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

  /** All names at once. */
  fill(names: ReadonlyMap<Name, Shown | undefined>): void {
    this.#sorted = []
    for (const name of this.#displaced.keys()) {
      if (names.get(name) === undefined) this.#displaced.delete(name)
    }
    this.change(names)
  }

  /** @param changes what each of these names shows from now on; undefined for those that are gone */
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

  /** A free place for a new name. */
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

/** Both sorted already. */
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
 * Two multiplicative hashes: the first is the place, the second the way to the next one. Their start differs from mount
 * to mount, so that nobody can make names that collide.
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
