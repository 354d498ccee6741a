import { beforeEach, describe, expect, test } from 'vitest'
import type { ExtentSink, NodeId } from '../../../src/base/index.ts'
import { BlockIndex } from '../../../src/fuse/blocks/block-index.ts'
import { Prefetcher } from '../../../src/fuse/blocks/prefetch.ts'
import { ReadPlan } from '../../../src/fuse/blocks/read-plan.ts'
import { allocateShared } from '../../../src/fuse/blocks/shared-cache.ts'
import { Slots } from '../../../src/fuse/blocks/slots.ts'
import { TaskQueue } from '../../../src/fuse/blocks/task-queue.ts'
import { BLOCK, MemoryBlockStore, MemoryFileSystem } from '../support/memory-file-system.ts'

const DEPTH = 3
const FILES = 40

/** Files 100, 101, … of one block and a bit, stored one after the other; each file has blocks of its own. */
class OrderedFiles extends MemoryFileSystem {
  override read(node: NodeId, offset: number, length: number, sink: ExtentSink): void {
    const end = Math.min(offset + length, this.fileSize)
    for (let at = offset; at < end; ) {
      const from = at % BLOCK
      const n = Math.min(BLOCK - from, end - at)
      const position = (node * 100 + (at - from) / BLOCK) * BLOCK
      sink.block({ source: 0, position, storedSize: 10, kindBits: 1, maxSize: BLOCK }, from, n)
      at += n
    }
  }

  following(node: NodeId): NodeId | undefined {
    return node + 1 < 100 + FILES ? node + 1 : undefined
  }
}

describe('Prefetcher', () => {
  const store = new MemoryBlockStore()
  let fileSystem: OrderedFiles
  let index: BlockIndex
  let slots: Slots
  let queue: TaskQueue
  let prefetcher: Prefetcher
  let readerPlan: ReadPlan

  beforeEach(() => {
    const shared = allocateShared(BLOCK, 64 * BLOCK, 2)
    fileSystem = new OrderedFiles(2)
    slots = new Slots(shared)
    queue = new TaskQueue(shared)
    index = new BlockIndex(slots)
    readerPlan = new ReadPlan(index, slots)
    const plan = new ReadPlan(index, slots, false)
    prefetcher = new Prefetcher({
      fileSystem,
      index,
      slots,
      queue,
      plan,
      depth: DEPTH,
      step: 2 * slots.size,
      isStaffed: () => true,
    })
  })

  /** Reads as the dispatcher does. @returns blocks that had to be decoded for this READ */
  function read(node: NodeId, offset: number, size: number): number {
    readerPlan.begin()
    fileSystem.read(node, offset, size, readerPlan)
    const missing = readerPlan.missing.length
    for (const slot of readerPlan.missing) if (slots.claim(slot)) slots.fill(slot, store)
    readerPlan.unpin()
    prefetcher.afterRead(node, offset, size)
    return missing
  }

  /** Lets the workers do what is queued. */
  function work(): number {
    let done = 0
    for (; queue.length > 0; done++) {
      const task = queue.take()!
      if (!('slot' in task)) throw new Error('a READ in the queue')
      if (slots.claim(task.slot)) slots.fill(task.slot, store)
      slots.unpin(task.slot)
    }
    return done
  }

  test('the prefetcher does nothing after a single READ', () => {
    read(100, 0, BLOCK)
    expect(queue.length).toBe(0)
  })

  test('the prefetcher decodes the rest of a file that is read in order', () => {
    read(100, 0, BLOCK)
    read(100, BLOCK, BLOCK)
    expect(work()).toBeGreaterThan(0)
    expect(read(100, 2 * BLOCK, BLOCK)).toBe(0)
  })

  test('the prefetcher decodes the files after one that is read in order, within a bounded distance', () => {
    read(100, 0, 1 << 20)
    let missed = 0
    for (let node = 101; node < 100 + FILES; node++) {
      missed += read(node, 0, 1 << 20)
      expect(queue.length).toBeLessThanOrEqual(DEPTH + 2)
      work()
    }
    // The second file is where the pattern shows; each has three blocks.
    expect(missed).toBe(3)
  })

  test('the prefetcher does nothing for a reader that jumps', () => {
    for (const node of [100, 117, 104, 131, 109]) {
      read(node, BLOCK, BLOCK)
      read(node, 0, BLOCK)
      expect(queue.length).toBe(0)
    }
  })

  test('the prefetcher continues when a reader returns to sequential reads, although earlier blocks were not read', () => {
    read(100, 0, 1 << 20)
    read(101, 0, 1 << 20)
    work()
    read(130, 0, 1 << 20)
    read(131, 0, 1 << 20)
    expect(work()).toBeGreaterThan(0)
    expect(read(132, 0, BLOCK)).toBe(0)
  })

  test('the prefetcher leaves no block pinned and stops where the files end', () => {
    for (let node = 100; node < 100 + FILES; node++) {
      read(node, 0, 1 << 20)
      work()
    }
    read(100 + FILES - 1, 1 << 20, 10)
    expect(queue.length).toBe(0)
    for (let slot = 0; slot < slots.count; slot++) expect(slots.isPinned(slot)).toBe(false)
  })

  test('the prefetcher skips a file that cannot be described', () => {
    const broken = fileSystem.read.bind(fileSystem)
    fileSystem.read = (node, offset, length, sink) => {
      if (node === 102) fileSystem.getattr(node)
      broken(node, offset, length, sink)
    }
    read(100, 0, 1 << 20)
    expect(() => read(101, 0, 1 << 20)).not.toThrow()
  })
})
