import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FsError } from '../../../src/base/index.ts'
import { BlockIndex } from '../../../src/fuse/blocks/block-index.ts'
import { SLOT_FAILED, SLOT_READY, Slots } from '../../../src/fuse/blocks/slots.ts'
import {
  allocateShared,
  Counters,
  GatherReply,
  InlineDataPath,
  PooledDataPath,
  readCounters,
  runDataWorker,
  TaskQueue,
  WorkerPool,
} from '../../../src/fuse/index.ts'
import { Reply } from '../../../src/fuse/protocol/encode.ts'
import { BLOCK, FILE_NODE, MemoryBlockStore, MemoryFileSystem } from '../support/memory-file-system.ts'

interface ParsedReply {
  readonly unique: number
  readonly error: number
  readonly payload: Buffer
}

let directory: string
let device: number

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'atomfs-pool-'))
  device = fs.openSync(path.join(directory, 'device'), 'w+')
})

afterEach(() => {
  fs.closeSync(device)
  fs.rmSync(directory, { recursive: true })
})

/** What was written to the stand-in for the device, reply by reply. */
function replies(): ParsedReply[] {
  const bytes = fs.readFileSync(path.join(directory, 'device'))
  const found: ParsedReply[] = []
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at)) {
    const end = at + bytes.readUInt32LE(at)
    found.push({
      unique: bytes.readUInt32LE(at + 8),
      error: bytes.readInt32LE(at + 4),
      payload: bytes.subarray(at + 16, end),
    })
  }
  return found
}

function pool(workers: number, slots: number, inlineLimit = 0, fileBlocks = 4) {
  const fileSystem = new MemoryFileSystem(fileBlocks)
  const store = new MemoryBlockStore()
  const shared = allocateShared(BLOCK, slots * BLOCK, workers)
  const counters = new Counters(shared, 0)
  const fallback = new InlineDataPath(fileSystem, store, () => 0, 0)
  const pool = new WorkerPool(shared)
  const target = new GatherReply(device, shared)
  const options = { fileSystem, store, target, pool, counters, fallback, inlineLimit, prefetch: false }
  const dataPath = new PooledDataPath(options)
  const reply = new Reply(1 << 20)
  const log: string[] = []
  const read = (unique: number, offset: number, size: number) =>
    dataPath.read({ token: { low: unique, high: 0 }, nodeId: FILE_NODE, offset, size }, reply)
  /** Lets one worker do everything that is queued, on this thread. */
  const drain = () => {
    new TaskQueue(shared).stop()
    runDataWorker({
      shared,
      thread: 1,
      target,
      store,
      log: (_, text) => {
        log.push(text)
      },
    })
  }
  return { fileSystem, store, shared, read, reply, drain, log, slots: new Slots(shared) }
}

describe('PooledDataPath', () => {
  test('the pooled data path gives the bytes of the inline path, through workers and from the cache', () => {
    const { fileSystem, read, drain, shared, store } = pool(1, 16)
    const ranges = [
      [0, 100],
      [4000, 9000],
      [0, 1 << 20],
      [16000, 4096],
      [8192, 4096],
    ] as const
    ranges.forEach(([offset, size], i) => {
      read(i, offset, size)
    })
    drain()
    ranges.forEach(([offset, size], i) => {
      read(100 + i, offset, size)
    })
    const content = Buffer.from(fileSystem.content())
    for (const { unique, error, payload } of replies()) {
      const [offset, size] = ranges[unique % 100]!
      expect(error).toBe(0)
      expect(payload).toEqual(content.subarray(offset, offset + size))
    }
    expect(replies().length).toBe(2 * ranges.length)
    expect([...store.decoded].sort((a, b) => a - b)).toEqual([0, BLOCK, 3 * BLOCK, 4 * BLOCK])
    expect(readCounters(shared).cacheHits).toBe(ranges.length + 1) // the hole alone never misses
  })

  test('the dispatcher decodes a single small block itself only while the workers are idle', () => {
    const busy = pool(1, 16, BLOCK)
    busy.read(1, 0, 10)
    expect(replies().length).toBe(0)
    const alone = pool(0, 16, BLOCK)
    alone.read(2, 0, 10)
    expect(replies().map((reply) => reply.unique)).toEqual([2])
  })

  test('a failed block is answered with EIO, other blocks with their bytes, and no slot stays pinned', () => {
    const { read, drain, store, log, slots } = pool(1, 16)
    store.damaged.add(BLOCK)
    read(1, 0, 3 * BLOCK)
    read(2, 0, BLOCK)
    drain()
    expect(replies().map(({ unique, error }) => [unique, error])).toEqual([
      [1, -5],
      [2, 0],
    ])
    expect(log.join()).toContain('block 4096 is damaged')
    for (let slot = 0; slot < slots.count; slot++) expect(slots.isPinned(slot)).toBe(false)
  })

  test('a block that failed for a waiting reader is answered at once for another reader', () => {
    const { read, slots } = pool(1, 16)
    read(1, 0, BLOCK)
    slots.setState(slots.count - 16, SLOT_FAILED)
    read(2, 0, BLOCK)
    expect(replies().map(({ unique, error }) => [unique, error])).toEqual([[2, -5]])
  })

  test('a failed block without a waiting reader is forgotten', () => {
    const { read, store } = pool(0, 16)
    store.damaged.add(0)
    expect(() => read(1, 0, 10)).toThrow(FsError)
    store.damaged.clear()
    read(2, 0, 10)
    expect(replies().map(({ unique, error }) => [unique, error])).toEqual([[2, 0]])
  })

  test('a READ that needs more slots than there are is served by the fallback', () => {
    const { read, reply, fileSystem, slots } = pool(1, 8, 0, 12)
    reply.begin()
    expect(read(1, 0, 1 << 20)).toBe('reply')
    expect(reply.bytes.subarray(16, 16 + reply.length)).toEqual(Buffer.from(fileSystem.content()))
    for (let slot = 0; slot < slots.count; slot++) expect(slots.isPinned(slot)).toBe(false)
  })
})

describe('BlockIndex', () => {
  const block = (position: number, storedSize = 10) => ({
    source: 0,
    position,
    storedSize,
    kindBits: 1,
    maxSize: BLOCK,
  })

  test('BlockIndex evicts the least recently used block, and never a pinned one', () => {
    const slots = new Slots(allocateShared(BLOCK, 8 * BLOCK, 0))
    const index = new BlockIndex(slots)
    const used = Array.from({ length: 8 }, (_, i) => index.acquire(block(i * 100))!)
    for (const slot of used) slots.setState(slot, SLOT_READY)
    for (const slot of used.slice(1)) slots.unpin(slot)
    expect(index.acquire(block(100))).toBe(used[1])
    slots.unpin(used[1]!)
    // Block 0 is pinned and block 1 was just used, so block 2 goes.
    expect(index.acquire(block(800))).toBe(used[2])
    expect(index.has(block(200))).toBe(false)
    expect(index.has(block(0))).toBe(true)
  })

  test('BlockIndex gives no slot when all are pinned', () => {
    const slots = new Slots(allocateShared(BLOCK, 8 * BLOCK, 0))
    const index = new BlockIndex(slots)
    for (let i = 0; i < 8; i++) expect(index.acquire(block(i))).toBeDefined()
    expect(index.acquire(block(8))).toBeUndefined()
  })

  test('BlockIndex distinguishes blocks of different size at the same position', () => {
    const slots = new Slots(allocateShared(BLOCK, 8 * BLOCK, 0))
    const index = new BlockIndex(slots)
    const slot = index.acquire(block(0, 10))!
    expect(index.acquire(block(0, 11))).toBeUndefined()
    slots.setState(slot, SLOT_READY)
    slots.unpin(slot)
    const other = index.acquire(block(0, 11))!
    expect(slots.state(other)).not.toBe(SLOT_READY)
    expect(slots.block(other).storedSize).toBe(11)
  })

  test('BlockIndex reuses the slot of a wholly read block before it takes new memory', () => {
    const slots = new Slots(allocateShared(BLOCK, 8 * BLOCK, 0))
    const index = new BlockIndex(slots)
    const store = new MemoryBlockStore()
    const read = (position: number, length: number): number => {
      const slot = index.acquire({ ...block(position), maxSize: BLOCK })!
      if (slots.claim(slot)) slots.fill(slot, store)
      index.deliver(slot, length)
      slots.unpin(slot)
      return slot
    }
    const half = read(0, BLOCK / 2)
    const whole = read(BLOCK, BLOCK)
    expect(read(2 * BLOCK, BLOCK)).toBe(whole)
    expect(index.has(block(BLOCK))).toBe(false)
    // The other half of the first block makes it whole, too.
    read(0, BLOCK / 2)
    expect([read(3 * BLOCK, 1), read(4 * BLOCK, 1)].sort()).toEqual([half, whole].sort())
  })

  describe('an index with room for 512 blocks of 128 KiB', () => {
    const SIZE = 128 << 10
    const setUp = () => {
      const slots = new Slots(allocateShared(SIZE, 512 * SIZE, 0))
      const index = new BlockIndex(slots)
      /** Asks for each block in turn and hands out nothing of it as a whole. @returns the blocks held afterwards */
      const read = (positions: Iterable<number>): Set<number> => {
        for (const position of positions) {
          const slot = index.acquire({ ...block(position), maxSize: SIZE })!
          slots.setState(slot, SLOT_READY)
          slots.unpin(slot)
        }
        return new Set(Array.from({ length: 10_000 }, (_, at) => at).filter((at) => index.has(block(at))))
      }
      return { index, slots, read }
    }

    test('a scan that leaves parts of blocks unread uses the first 6 MiB only', () => {
      const { read } = setUp()
      expect(read(Array.from({ length: 2000 }, (_, i) => i)).size).toBe(48)
    })

    test('readers that return to evicted blocks get all of their data', () => {
      const { read } = setUp()
      const again = Array.from({ length: 400 }, (_, i) => i)
      for (let round = 0; round < 3; round++) read(again)
      expect(read(again).size).toBe(400)
      expect(read(Array.from({ length: 2000 }, (_, i) => 5000 + i)).size).toBeLessThanOrEqual(512)
    })

    test('BlockIndex takes new memory beyond its first part when all other slots are pinned', () => {
      const { index } = setUp()
      const all = Array.from({ length: 512 }, (_, i) => index.acquire({ ...block(i), maxSize: SIZE }))
      expect(new Set(all).size).toBe(512)
      expect(all).not.toContain(undefined)
    })
  })
})
