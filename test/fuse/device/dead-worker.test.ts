import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { BlockIndex } from '../../../src/fuse/blocks/block-index.ts'
import { HOLE, JobTable } from '../../../src/fuse/blocks/jobs.ts'
import { SLOT_FAILED, SLOT_FILLING, SLOT_READY, Slots } from '../../../src/fuse/blocks/slots.ts'
import { Staff } from '../../../src/fuse/blocks/staff.ts'
import { TaskQueue } from '../../../src/fuse/blocks/task-queue.ts'
import { allocateShared, buryWorker } from '../../../src/fuse/index.ts'

/** A worker ends in the middle of a task. The connection is a file: what is written to it can be seen. */

const WORKER = 2
const TOKEN = { low: 77, high: 0x8000_0001 }

let folder = ''
let fuseFd = -1

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'atomfs-'))
  fuseFd = openSync(join(folder, 'device'), 'w')
})

afterEach(() => {
  closeSync(fuseFd)
  rmSync(folder, { recursive: true })
})

function pool() {
  const shared = allocateShared(4096, 64 * 4096, 2)
  const slots = new Slots(shared)
  const index = new BlockIndex(slots)
  const acquire = (position: number): number =>
    index.acquire({ source: 0, position, storedSize: 9, kindBits: 0, maxSize: 4096 })!
  const worker = {
    queue: new TaskQueue(shared, WORKER),
    slots: new Slots(shared, WORKER),
    staff: new Staff(shared),
  }
  const come = (): void => {
    worker.queue.letGo()
    worker.staff.enter()
  }
  const bury = (): void => buryWorker(WORKER, { shared, fuseFd })
  const written = (): Buffer => readFileSync(join(folder, 'device'))
  return {
    shared,
    slots,
    acquire,
    worker,
    come,
    bury,
    written,
    jobs: new JobTable(shared),
    queue: new TaskQueue(shared),
  }
}

test('a READ whose worker dies gets EIO, and all that it held is free', () => {
  const { slots, acquire, worker, come, bury, written, jobs, queue } = pool()
  const [mine, other, ready] = [acquire(0), acquire(10_000), acquire(20_000)]
  slots.setState(ready, SLOT_READY)
  const job = jobs.take()!
  jobs.putReply(job, TOKEN, Int32Array.of(mine, 0, 5, HOLE, 0, 7, other, 0, 5, ready, 0, 5))
  queue.pushJob(job)
  come()
  expect(worker.queue.takeNow()).toEqual({ job })
  expect(worker.slots.claim(mine)).toBe(true)
  // Another worker decodes the other one.
  expect(slots.claim(other)).toBe(true)
  expect([mine, other].map((slot) => slots.state(slot))).toEqual([SLOT_FILLING, SLOT_FILLING])
  bury()
  expect([mine, other, ready].map((slot) => slots.state(slot))).toEqual([
    SLOT_FAILED,
    SLOT_FILLING,
    SLOT_READY,
  ])
  expect([mine, other, ready].map((slot) => slots.isPinned(slot))).toEqual([false, false, false])
  expect(jobs.age(job)).toBeUndefined()
  expect(worker.staff.present).toBe(0)
  const answer = written()
  expect([answer.length, answer.readUInt32LE(0), answer.readInt32LE(4)]).toEqual([16, 16, -5])
  expect([answer.readUInt32LE(8), answer.readUInt32LE(12)]).toEqual([TOKEN.low, TOKEN.high])
  bury()
  expect([worker.staff.present, written().length]).toEqual([0, 16])
})

test('a worker that dies while it takes its pins back leaves those of others alone', () => {
  const { slots, acquire, worker, come, bury, jobs, queue } = pool()
  const [one, two] = [acquire(0), acquire(10_000)]
  slots.pin(one)
  const job = jobs.take()!
  jobs.putReply(job, TOKEN, Int32Array.of(one, 0, 5, two, 0, 5))
  queue.pushJob(job)
  come()
  worker.queue.takeNow()
  // As far as `unpinSegments` came.
  jobs.segments(job)[0] = HOLE
  slots.unpin(one)
  bury()
  expect([one, two].map((slot) => slots.isPinned(slot))).toEqual([true, false])
})

test('a copy and a sync whose worker dies end with EIO, and a block that was guessed is free', () => {
  const { slots, acquire, worker, come, bury, written, jobs, queue } = pool()
  const slot = acquire(0)
  const [copy, sync] = [jobs.take()!, jobs.take()!]
  jobs.putWrite(copy, 'write', 9, 0, Int32Array.of(slot, 0, 5))
  jobs.putSync(sync, 'all', 9)
  for (const job of [copy, sync]) {
    queue.pushJob(job)
    come()
    worker.queue.takeNow()
    bury()
    expect(jobs.collect(job)).toBe(5)
  }
  expect(slots.isPinned(slot)).toBe(false)
  const guessed = acquire(10_000)
  queue.pushFill(guessed)
  come()
  expect(worker.queue.takeNow()).toEqual({ slot: guessed })
  expect(worker.slots.claim(guessed)).toBe(true)
  bury()
  expect([slots.isPinned(guessed), slots.state(guessed)]).toEqual([false, SLOT_FAILED])
  expect(written()).toHaveLength(0)
})

test('a worker that dies before it comes, or between two tasks, held nothing', () => {
  const { worker, come, bury, written } = pool()
  bury()
  expect(worker.staff.present).toBe(0)
  come()
  expect(worker.staff.present).toBe(1)
  bury()
  expect([worker.staff.present, written().length]).toEqual([0, 0])
})
