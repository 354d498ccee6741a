import { closeSync, linkSync, mkdirSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { copyCost, INODE_COST, measureBelow, Space } from '../../../../overlay/upper/disk/space.ts'
import { withTempDir } from '../../../library/index.ts'

describe('bound of an upper directory', () => {
  test('is measured only when all that was free is taken', () => {
    let used = 400
    let measured = 0
    const space = new Space(1000, () => {
      measured += 1
      return used
    })
    for (let i = 0; i < 6; i++) space.take(100)
    expect(measured).toBe(1)
    used = 900
    space.take(100)
    expect(measured).toBe(2)
    expect(() => space.take(101)).toThrow(expect.objectContaining({ code: 'ENOSPC' }))
    used = 100
    space.take(900)
    expect(measured).toBe(4)
  })

  test('a failed step takes nothing', () => {
    const space = new Space(1000, () => 0)
    expect(() => space.take(1001)).toThrow(expect.objectContaining({ code: 'ENOSPC' }))
    space.take(1000)
  })

  test('of changes that are beyond it already nothing is free', () => {
    const space = new Space(1000, () => 5000)
    expect(space.state()).toEqual({ limit: 1000, free: 0 })
    expect(() => space.take(1)).toThrow(expect.objectContaining({ code: 'ENOSPC' }))
  })

  test('a copy takes its data without holes', () => {
    expect(copyCost({ size: 1 << 30, blocks: 8 })).toBe(INODE_COST + 4096)
    expect(copyCost({ size: 10, blocks: 8 })).toBe(INODE_COST + 10)
  })
})

describe('measuring a directory', () => {
  const MIB = 1 << 20

  function measure(folder: string, others: readonly number[] = []): number {
    const fd = openSync(folder, 'r')
    try {
      return measureBelow([fd], others)
    } finally {
      closeSync(fd)
    }
  }

  test('counts data at any depth, each file once, holes not, and each name of a directory', () =>
    withTempDir((folder) => {
      const deep = join(folder, ...Array.from({ length: 60 }, () => 'd'))
      mkdirSync(deep, { recursive: true })
      const empty = measure(folder)
      expect(empty).toBeGreaterThanOrEqual(60 * INODE_COST)
      writeFileSync(join(deep, 'file'), Buffer.alloc(MIB, 1))
      linkSync(join(deep, 'file'), join(folder, 'link'))
      writeFileSync(join(folder, 'hole'), 'x')
      truncateSync(join(folder, 'hole'), 1 << 30)
      const grown = measure(folder) - empty
      expect(grown).toBeGreaterThanOrEqual(MIB)
      expect(grown).toBeLessThan(MIB + (64 << 10))
    }))

  test('counts open files that have no name any more', () =>
    withTempDir((folder) => {
      writeFileSync(join(folder, 'file'), Buffer.alloc(MIB, 1))
      const fd = openSync(join(folder, 'file'), 'r')
      try {
        const named = measure(folder, [fd])
        expect(named).toBeGreaterThanOrEqual(MIB)
        expect(named).toBeLessThan(2 * MIB)
        rmSync(join(folder, 'file'))
        expect(measure(folder)).toBe(0)
        expect(measure(folder, [fd])).toBeGreaterThanOrEqual(MIB)
      } finally {
        closeSync(fd)
      }
    }))
})
