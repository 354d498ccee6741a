import { describe, expect, test } from 'vitest'
import { FIRST_UPPER, randomHash, UpperNames } from '../../../../overlay/upper/nodes/name-cookies.ts'
import { Random } from '../../../library/index.ts'

const shown = { ino: 1, type: 8, upperIno: 2 }

/** A reader that takes one name at a time. */
interface Reader {
  cookie: number
  readonly seen: string[]
  /** There when it began, and neither made nor removed since. */
  readonly untouched: Set<string>
}

function step(names: UpperNames, reader: Reader): boolean {
  for (const { name, cookie } of names.after(reader.cookie)) {
    reader.cookie = cookie
    reader.seen.push(name)
    return true
  }
  return false
}

/** @param places that a name can get: with few of them nearly all names collide */
function play(seed: number, places: number): number {
  const random = new Random(seed)
  const hash = randomHash()
  const names = new UpperNames((name, attempt) => ((hash(name, 0) % places) + attempt * 7) % 1009, new Map())
  const present = new Set<string>()
  const readers: Reader[] = []
  let finished = 0
  for (let i = 0; i < 400; i++) {
    const touched = new Map<string, typeof shown | undefined>()
    for (let k = random.int(0, 4); k > 0; k--) {
      const name = `n${random.int(0, 60)}`
      if (random.chance(0.4)) present.delete(name)
      else present.add(name)
      touched.set(name, present.has(name) ? shown : undefined)
    }
    for (const { untouched } of readers) for (const name of touched.keys()) untouched.delete(name)
    names.change(touched)
    // The listing was dropped and is made again, in the order of the directory, which is any.
    if (random.chance(0.1)) {
      const order = [...present].sort(() => random.int(0, 3) - 1)
      names.fill(new Map(order.map((name) => [name, shown])))
    }
    if (random.chance(0.2)) readers.push({ cookie: FIRST_UPPER - 1, seen: [], untouched: new Set(present) })
    for (const reader of [...readers]) {
      if (step(names, reader)) continue
      readers.splice(readers.indexOf(reader), 1)
      finished += 1
      for (const name of reader.untouched) {
        expect(reader.seen.filter((one) => one === name)).toEqual([name])
      }
    }
  }
  return finished
}

describe('cookies of names in the upper', () => {
  test.each([1, 2, 9, 1009])(
    'cookies give every remaining name once, with %i places tried first',
    (places) => {
      for (let seed = 0; seed < 6; seed++) expect(play(seed, places)).toBeGreaterThan(0)
    },
  )

  test('cookies are unique, in order, and fit into 31 bits', () => {
    const names = new UpperNames(randomHash(), new Map())
    // Of so many, some hashes are taken by another name already.
    const all = Array.from({ length: 200_000 }, (_, i) => `name${i}`)
    names.fill(new Map(all.map((name) => [name, shown])))
    let [last, count] = [0, 0]
    for (const { cookie } of names.after(0)) {
      if (cookie <= last) throw new Error(`${cookie} after ${last}`)
      last = cookie
      count += 1
    }
    expect(count).toBe(all.length)
    expect(last).toBeLessThan(2 ** 31)
  })
})
