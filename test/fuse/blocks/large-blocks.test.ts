import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ExtentSink, MAX_BLOCK_SIZE, type NodeId } from '../../../src/base/index.ts'
import { BlockIndex } from '../../../src/fuse/blocks/block-index.ts'
import { Slots } from '../../../src/fuse/blocks/slots.ts'
import {
  allocateShared,
  Counters,
  GatherReply,
  InlineDataPath,
  PooledDataPath,
  runDataWorker,
  TaskQueue,
  WorkerPool,
} from '../../../src/fuse/index.ts'
import { Reply } from '../../../src/fuse/protocol/encode.ts'
import { FILE_NODE, MemoryFileSystem } from '../support/memory-file-system.ts'
import { describeLarge, LARGE_BLOCK, largeByte, PartReader } from '../support/part-reader.ts'

class LargeFile extends MemoryFileSystem {
  override read(_: NodeId, offset: number, size: number, sink: ExtentSink): void {
    describeLarge(offset, size, sink)
  }
}

let folder: string
let device: number

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'atomfs-large-'))
  device = fs.openSync(path.join(folder, 'device'), 'w+')
})

afterEach(() => {
  fs.closeSync(device)
  fs.rmSync(folder, { recursive: true })
})

function pool(workers: number, slots = 64) {
  const fileSystem = new LargeFile()
  const shared = allocateShared(MAX_BLOCK_SIZE, slots * MAX_BLOCK_SIZE, workers)
  const pool = new WorkerPool(shared)
  const store = new PartReader()
  const target = new GatherReply(device, shared)
  const dataPath = new PooledDataPath({
    fileSystem,
    store,
    target,
    pool,
    counters: new Counters(shared, 0),
    fallback: new InlineDataPath(fileSystem, store, () => 0, 0),
    inlineLimit: 0,
    prefetch: false,
  })
  const reply = new Reply(MAX_BLOCK_SIZE)
  const read = (offset: number, size: number) =>
    dataPath.read({ token: { low: offset, high: 0 }, nodeId: FILE_NODE, offset, size }, reply)
  const drain = (reader: PartReader) => {
    new TaskQueue(shared).stop()
    runDataWorker({ shared, thread: 1, target, store: reader, log: () => undefined })
  }
  return { pool, store, read, drain }
}

/** The replies, in the order in which they were sent: the offset of each, which is its token, and its bytes. */
function* replies(): Generator<{ offset: number; error: number; payload: Buffer }> {
  const bytes = fs.readFileSync(path.join(folder, 'device'))
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at)) {
    const payload = bytes.subarray(at + 16, at + bytes.readUInt32LE(at))
    yield { offset: bytes.readUInt32LE(at + 8), error: bytes.readInt32LE(at + 4), payload }
  }
}

function expectBytes(offset: number, payload: Buffer): void {
  const wanted = Buffer.from(payload)
  for (let i = 0; i < payload.length; i++) {
    const place = offset + i
    wanted[i] = largeByte(1000 + Math.floor(place / LARGE_BLOCK), place % LARGE_BLOCK)
  }
  expect(payload.equals(wanted)).toBe(true)
}

describe('a block of 16 MiB in 16 parts', () => {
  test.each([0, 1])(
    'a large block is decoded once when it is read from front to back, with %i workers',
    (workers) => {
      const { store, read, drain } = pool(workers)
      const SIZE = 256 << 10
      for (let offset = 0; offset < LARGE_BLOCK; offset += SIZE) read(offset, SIZE)
      const worker = workers === 0 ? store : new PartReader()
      if (workers > 0) drain(worker)
      const sent = [...replies()]
      expect(sent).toHaveLength(LARGE_BLOCK / SIZE)
      for (const { offset, error, payload } of sent) {
        expect([error, payload.length]).toEqual([0, SIZE])
        expectBytes(offset, payload)
      }
      expect([worker.decodes, worker.decoded]).toEqual([1, LARGE_BLOCK])
    },
  )

  test('a large block is decoded up to the requested part, and decoded anew for an earlier part', () => {
    const { store, read } = pool(0)
    read(9 * MAX_BLOCK_SIZE + 5, 100)
    expect([store.decodes, store.decoded]).toEqual([1, 10 * MAX_BLOCK_SIZE])
    read(12 * MAX_BLOCK_SIZE, 100)
    expect([store.decodes, store.decoded]).toEqual([1, 13 * MAX_BLOCK_SIZE])
    // That is in the cache.
    read(9 * MAX_BLOCK_SIZE, 100)
    expect(store.decodes).toBe(1)
    read(2 * MAX_BLOCK_SIZE, 100)
    expect([store.decodes, store.decoded]).toEqual([2, 16 * MAX_BLOCK_SIZE])
    for (const { offset, payload } of replies()) expectBytes(offset, payload)
  })

  test('each part of a large block has a slot, and one READ of neighbouring parts uses one worker', () => {
    const { pool: workers, read, drain } = pool(4)
    const idle = new Int32Array(workers.shared.queue)
    // As if all workers waited: the header of the queue counts them.
    idle[3] = 4
    read(MAX_BLOCK_SIZE / 2, MAX_BLOCK_SIZE)
    expect(workers.queue.length).toBe(1)
    // The second part belongs to another block: that one is for a helper.
    read(LARGE_BLOCK - MAX_BLOCK_SIZE / 2, MAX_BLOCK_SIZE)
    expect(workers.queue.length).toBe(3)
    idle[3] = 0
    drain(new PartReader())
    const sent = [...replies()]
    expect(sent).toHaveLength(2)
    for (const { offset, error, payload } of sent) {
      expect([error, payload.length]).toEqual([0, MAX_BLOCK_SIZE])
      expectBytes(offset, payload)
    }
    for (let slot = 0; slot < workers.slots.count; slot++) expect(workers.slots.isPinned(slot)).toBe(false)
  })
})

describe('the slots of decoded blocks', () => {
  test('a slot is never larger than the largest block', () => {
    expect(() => allocateShared(MAX_BLOCK_SIZE + 1, 64 << 20, 1)).toThrow(RangeError)
  })

  test.each([
    ['small numbers', 0, 4096, 3],
    ['many layers', 4000, 4096, 3],
    ['a position beyond 1 TiB', 1, 2 ** 45, 3],
    ['many bits of the kind', 1, 4096, 2 ** 30],
  ])('slots distinguish blocks by every part of their key: %s', (_, source, position, kindBits) => {
    const slots = new Slots(allocateShared(4096, 16 * 4096, 0))
    const index = new BlockIndex(slots)
    const block = { source, position, storedSize: 10, kindBits, maxSize: 4096 }
    const others = [
      block,
      { ...block, source: source + 1 },
      { ...block, position: position + 1 },
      { ...block, kindBits: kindBits + 1 },
      { ...block, kindBits: kindBits - 1 },
    ]
    const found = others.map((one) => index.acquire(one))
    expect(new Set(found).size).toBe(others.length)
    expect(others.map((one) => index.acquire(one))).toEqual(found)
  })
})
