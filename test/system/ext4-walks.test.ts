import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Ext4Image } from '../../ext4/image.ts'
import { type LayerEntry, ReadPostponed, Work } from '../../src/base/index.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { mke2fs } from '../library/images/ext.ts'
import { makeTempDir, needs, removeTempDir, titled } from '../library/index.ts'

/** Long walks through a file system, whose requests are postponed in the middle. */

const need = needs('mke2fs')
const NAMES = 3000

let temp = ''
let bytes: Buffer

beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  const tree = join(temp, 'tree')
  mkdirSync(join(tree, 'wide'), { recursive: true })
  for (let i = 0; i < NAMES; i++) writeFileSync(join(tree, 'wide', `${'n'.repeat(100)}-${i}`), '')
  const options = '-t ext2 -b 1024 -N 4000 -O ^dir_index'
  bytes = readFileSync(await mke2fs(join(temp, 'image'), { options, megabytes: 8, from: tree }))
})
afterAll(() => removeTempDir(temp))

/** Answers a call as the dispatcher does: again after each time it was postponed. */
function patiently<T>(call: () => T): { readonly value: T; readonly rounds: number } {
  for (let rounds = 1; ; rounds++) {
    try {
      return { value: call(), rounds }
    } catch (error) {
      if (!(error instanceof ReadPostponed)) throw error
    }
  }
}

function* nothing(): Generator<'more', void> {}

describe.skipIf(!need.ok)(titled('a directory without an index', need), () => {
  const open = (): { readonly image: Ext4Image; readonly wide: number; readonly pauses: () => number } => {
    let pauses = 0
    let isOpen = false
    const pause = (): void => {
      if (!isOpen) return
      pauses += 1
      throw new ReadPostponed(new Work(nothing()))
    }
    const image = new Ext4Image({ source: memorySource(bytes), sourceId: 0, label: 'image', pause })
    const wide = image.lookup(image.root, 'wide')?.ref ?? 0
    isOpen = true
    return { image, wide, pauses: () => pauses }
  }

  test('a search that is postponed again and again goes on where it was, and finds what is there', () => {
    const { image, wide, pauses } = open()
    const last = patiently(() => image.lookup(wide, `${'n'.repeat(100)}-${NAMES - 1}`))
    expect(last.value).toMatchObject({ type: 8 })
    // Each block is passed once: 16 of them a turn.
    const blocks = image.stat(wide).size / 1024
    expect(blocks).toBeGreaterThan(300)
    expect(pauses()).toBeLessThanOrEqual(blocks / 16 + 1)
    expect(patiently(() => image.lookup(wide, 'missing')).value).toBe(undefined)
  })

  test('a listing that is postponed gives each name once, and its positions lead on', () => {
    const { image, wide } = open()
    const cursor = image.openDirectory(wide, 0)
    const entries: LayerEntry[] = []
    let middle = 0
    for (let entry = patiently(() => cursor.next()).value; entry !== undefined; ) {
      entries.push(entry)
      if (entries.length === 1000) middle = cursor.position
      entry = patiently(() => cursor.next()).value
    }
    expect(new Set(entries.map(({ name }) => name)).size).toBe(NAMES)
    expect(entries.length).toBe(NAMES)
    const rest = image.openDirectory(wide, middle)
    expect(patiently(() => rest.next()).value).toEqual(entries[1000])
  })
})
