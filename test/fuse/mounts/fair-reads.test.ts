import { describe, expect, test } from 'vitest'
import { ReadPostponed, type Work } from '../../../src/base/index.ts'
import { FairReads, type MountReader, MountTable } from '../../../src/fuse/index.ts'

const WORKERS = 2
const PIECE = 1 << 20

/** Mounts whose READs take their turn; `answer` ends the job of one. */
function scene(mounts: number) {
  const table = new MountTable()
  const fair = new FairReads(table, WORKERS)
  const readers = Array.from({ length: mounts }, (_, mount) => fair.reader({ device: 100 + mount, mount }))
  const works = new Map<MountReader, Work[]>(readers.map((reader) => [reader, []]))
  const begun: number[] = []
  /** A READ of a mount that the workers have to do. @returns false where it waits */
  const read = (mount: number, bytes = PIECE): boolean => {
    const reader = readers[mount] as MountReader
    try {
      reader.pass()
    } catch (error) {
      if (!(error instanceof ReadPostponed)) throw error
      works.get(reader)?.push(error.work)
      return false
    }
    reader.begin(bytes)
    begun.push(mount)
    return true
  }
  /** A job of this mount ends; then all READs begin whose turn it is. */
  const answer = (mount: number, bytes = PIECE): void => {
    table.end(mount, true)
    for (let next = fair.next(); next !== undefined; next = fair.next()) {
      const [first] = works.get(next)?.splice(0, 1) ?? []
      expect(first?.advance()).toBe('done')
      expect(read(next.asker.mount, bytes)).toBe(true)
    }
  }
  return { table, fair, readers, works, begun, read, answer }
}

describe('READs of several mounts', () => {
  test('begin at once while the workers have room', () => {
    const { read, fair, table } = scene(2)
    expect([read(0), read(1)]).toEqual([true, true])
    expect(fair.isWaiting).toBe(false)
    expect(table.allUnderWay).toBe(2)
    expect(read(0)).toBe(false)
    expect(fair.isWaiting).toBe(true)
  })

  test('take turns, however many one mount has', () => {
    const { read, begun, answer } = scene(2)
    for (let i = 0; i < 8; i++) read(0)
    for (let i = 0; i < 3; i++) read(1)
    // Two of mount 0 are under way; the second mount, which had rested, then has its credit.
    for (let i = 0; i < 9; i++) answer(begun[i] ?? 0)
    expect(begun.slice(0, 8)).toEqual([0, 0, 1, 1, 0, 1, 0, 0])
    expect(begun.length).toBe(11)
  })

  test('of a mount that was idle pass all lines of heavy ones', () => {
    const { read, begun, answer } = scene(100)
    for (let round = 0; round < 5; round++) for (let mount = 1; mount < 100; mount++) read(mount)
    for (let i = 0; i < 150; i++) answer(begun[i] ?? 1)
    expect(read(0, 4096)).toBe(false)
    const before = begun.length
    answer(begun[150] ?? 1)
    expect(begun[before]).toBe(0)
  })

  test('that are given up hold up nobody', () => {
    const { read, readers, fair, works, table } = scene(2)
    read(0)
    read(0)
    let given: (() => void) | undefined
    try {
      readers[1]?.pass()
    } catch (error) {
      given = (error as ReadPostponed).givenUp
    }
    read(0)
    given?.()
    table.end(0, true)
    expect(fair.next()).toBe(readers[0])
    works.clear()
    readers[0]?.close()
    expect(fair.isWaiting).toBe(false)
  })

  test('are counted by their mount', () => {
    const { read, table } = scene(3)
    read(2)
    expect([table.underWay(0), table.underWay(2)]).toEqual([0, 1])
    expect(table.end(2, false)).toBe(false)
    expect(table.failed(2)).toBe(1)
    table.wantBell(true)
    read(2)
    expect(table.end(2, true)).toBe(true)
    table.reset(2)
    expect(table.failed(2)).toBe(0)
  })
})
