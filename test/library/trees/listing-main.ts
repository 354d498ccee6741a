import { closeSync, openSync } from 'node:fs'
import { type RawEntry, readEntries, seekEntries } from '../programs/direct-io.ts'
import { Random } from './random.ts'

/**
 * Lists a directory in many ways that must agree: with large and small buffers, from every cookie, by two readers
 * in turn, and again from the start. Prints the names in order; a contradiction is an error.
 */
const [path, seeks] = process.argv.slice(2)
if (path === undefined) throw new Error('usage: listing-main DIRECTORY NUMBER-OF-SEEKS')
const random = new Random(7)
const LARGE = 65_536
/** Holds a name of 255 bytes, so little else. */
const SMALL = 280

function listAll(fd: number, size: number): RawEntry[] {
  const all: RawEntry[] = []
  for (;;) {
    const some = readEntries(fd, size)
    if (some.length === 0) return all
    all.push(...some)
  }
}

function assertSame(what: string, actual: readonly RawEntry[], expected: readonly RawEntry[]): void {
  const difference = expected.findIndex((entry, i) => {
    const other = actual[i]
    return other?.name !== entry.name || other.ino !== entry.ino || other.cookie !== entry.cookie
  })
  if (difference < 0 && actual.length === expected.length) return
  const [a, b] = [actual[difference], expected[difference]].map((entry) =>
    entry === undefined ? 'nothing' : `${JSON.stringify(entry.name)} (${entry.cookie})`,
  )
  throw new Error(
    `${what}: ${actual.length} of ${expected.length} entries; at ${difference}: ${a}, expected ${b}`,
  )
}

const fd = openSync(path, 'r')
const all = listAll(fd, LARGE)
if (readEntries(fd, LARGE).length > 0) throw new Error('entries after the end')
const cookies = new Set(all.map(({ cookie }) => cookie))
if (cookies.size !== all.length || cookies.has(0n)) throw new Error('cookies are not unique, or one is 0')
seekEntries(fd, 0n)
assertSame('again from the start', listAll(fd, LARGE), all)
seekEntries(fd, 0n)
assertSame('small buffers', listAll(fd, SMALL), all)

for (let i = 0; i < Number(seeks ?? 0); i += 1) {
  const at = random.int(0, all.length - 1)
  seekEntries(fd, all[at]?.cookie ?? 0n)
  const some = readEntries(fd, random.pick([SMALL, 4096, LARGE]))
  assertSame(
    `after entry ${at}`,
    some,
    all.slice(at + 1, at + 1 + Math.max(some.length, at + 1 < all.length ? 1 : 0)),
  )
}

const readers = [0, 1].map(() => ({ fd: openSync(path, 'r'), found: [] as RawEntry[], done: false }))
while (readers.some(({ done }) => !done)) {
  const reader = random.pick(readers)
  const some = readEntries(reader.fd, random.pick([SMALL, 2048]))
  reader.found.push(...some)
  reader.done = some.length === 0
}
for (const [i, reader] of readers.entries()) {
  assertSame(`reader ${i} of two`, reader.found, all)
  closeSync(reader.fd)
}
closeSync(fd)
process.stdout.write(JSON.stringify(all.map(({ name, ino, type }) => ({ name, ino, type }))))
