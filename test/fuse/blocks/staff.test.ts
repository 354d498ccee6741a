import { expect, test } from 'vitest'
import { Staff } from '../../../src/fuse/blocks/staff.ts'
import { TaskQueue } from '../../../src/fuse/blocks/task-queue.ts'
import { allocateShared, runDataWorker, WorkerPool } from '../../../src/fuse/index.ts'
import { BLOCK, MemoryBlockStore } from '../support/memory-file-system.ts'

const NO_TARGET = {
  begin: () => undefined,
  place: () => undefined,
  zeros: () => undefined,
  send: () => undefined,
  fail: () => undefined,
}

function shared(workers = 2) {
  return allocateShared(BLOCK, 16 * BLOCK, workers)
}

test('one worker is asked for at a time, until all are there', () => {
  const memory = shared()
  const [dispatcher, first, second] = [new Staff(memory), new Staff(memory), new Staff(memory)]
  expect([dispatcher.want(), dispatcher.want()]).toEqual([true, false])
  first.enter()
  expect([dispatcher.want(), first.want()]).toEqual([true, false])
  second.enter()
  expect([dispatcher.present, dispatcher.want()]).toEqual([2, false])
})

test('a worker that leaves takes no task with it', () => {
  const memory = shared()
  const [staff, queue] = [new Staff(memory), new TaskQueue(memory)]
  staff.enter()
  queue.pushJob(3)
  expect([staff.leave(queue), staff.present]).toEqual([false, 1])
  expect(queue.takeNow()).toEqual({ job: 3 })
  expect([staff.leave(queue), staff.present]).toEqual([true, 0])
})

test('no worker is asked for after one was refused, until that is over', () => {
  const memory = shared()
  const staff = new Staff(memory)
  expect(staff.want()).toBe(true)
  staff.refuse()
  expect([staff.isRefused, staff.want()]).toEqual([true, false])
  staff.allow()
  expect([staff.isRefused, staff.want()]).toEqual([false, true])
  // One that comes late after all.
  staff.refuse()
  new Staff(memory).enter()
  expect(staff.isRefused).toBe(false)
})

test('workers that are to stay are never asked for', () => {
  const staff = new Staff(shared())
  staff.stay()
  expect([staff.want(), staff.isResident]).toEqual([false, true])
  staff.enter()
  expect(staff.isResident).toBe(true)
})

test('a worker ends after its rest, and at once when it is dismissed', () => {
  const memory = shared()
  const worker = (restMs: number) =>
    runDataWorker({
      shared: memory,
      thread: 1,
      target: NO_TARGET,
      store: new MemoryBlockStore(),
      restMs,
      log: () => undefined,
    })
  worker(1)
  const staff = new Staff(memory)
  expect(staff.present).toBe(0)
  const queue = new TaskQueue(memory)
  let looks = 0
  const rest = { ms: 60_000, isDismissed: () => ++looks === 1 }
  expect([queue.take(rest), looks]).toEqual([undefined, 1])
})

test('memory of blocks is given back, but not of those in use', () => {
  const pool = new WorkerPool(shared())
  const blockAt = (position: number) => ({ source: 0, position, storedSize: 10, kindBits: 0, maxSize: BLOCK })
  const [used, unused] = [pool.index.acquire(blockAt(0))!, pool.index.acquire(blockAt(100))!]
  pool.slots.bytes(used).fill(7)
  pool.slots.unpin(unused)
  pool.giveBack()
  expect([pool.index.has(blockAt(0)), pool.index.has(blockAt(100))]).toEqual([true, false])
  expect(new Set(pool.slots.bytes(used))).toEqual(new Set([7]))
  // All slots can be used again.
  const others = Array.from({ length: pool.slots.count - 1 }, (_, i) => pool.index.acquire(blockAt(1000 + i)))
  expect(new Set([used, ...others]).size).toBe(pool.slots.count)
  expect(others).not.toContain(undefined)
})
