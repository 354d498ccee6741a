import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ExtentSink, FsError } from '../../../src/base/index.ts'
import { JobTable, MAX_JOBS, pendingAges } from '../../../src/fuse/blocks/jobs.ts'
import {
  allocateShared,
  GatherReply,
  PooledBackground,
  runDataWorker,
  TaskQueue,
  WorkerPool,
} from '../../../src/fuse/index.ts'
import { Poller } from '../../../src/sys/files/device-io.ts'
import { clearBell, openBell, ringBell } from '../../../src/sys/process/bell.ts'
import { BLOCK, blockBytes, MemoryBlockStore } from '../support/memory-file-system.ts'

let folder: string
let file: number
let bell: number

beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'atomfs-background-'))
  file = fs.openSync(path.join(folder, 'file'), 'w+')
  bell = openBell()
})

afterEach(() => {
  fs.closeSync(file)
  fs.closeSync(bell)
  fs.rmSync(folder, { recursive: true })
})

function background(slots = 16, workers = 1) {
  const shared = allocateShared(BLOCK, slots * BLOCK, workers)
  const pool = new WorkerPool(shared)
  const store = new MemoryBlockStore()
  const log: string[] = []
  /** Lets one worker do everything that is queued, on this thread. */
  const drain = () => {
    new TaskQueue(shared).stop()
    runDataWorker({
      shared,
      thread: 1,
      target: new GatherReply(-1, shared),
      bell,
      store,
      log: (_, text) => {
        log.push(text)
      },
    })
  }
  const isNothingPinned = () =>
    Array.from({ length: pool.slots.count }, (_, i) => i).every((slot) => !pool.slots.isPinned(slot))
  return { shared, pool, store, log, drain, isNothingPinned, background: new PooledBackground(pool) }
}

/** A block, a hole as long, and half a block. */
function describeThree(sink: ExtentSink): void {
  sink.block(blockAt(0), 0, BLOCK)
  sink.hole(BLOCK)
  sink.block(blockAt(BLOCK), 7, BLOCK / 2)
}

const LENGTH = 2.5 * BLOCK

function blockAt(position: number) {
  return { source: 0, position, storedSize: 10, kindBits: 1, maxSize: BLOCK }
}

function expected(): Buffer {
  return Buffer.concat([blockBytes(0), Buffer.alloc(BLOCK), blockBytes(BLOCK).subarray(7, 7 + BLOCK / 2)])
}

function isRung(): boolean {
  return new Poller([bell]).wait(0) > 0
}

describe('data workers with files of the host', () => {
  test.each([false, true])(
    'data workers write decoded blocks and holes to their positions in a host file (to the disk: %s)',
    (toDisk) => {
      const { background: workers, drain, isNothingPinned } = background()
      const transfer = workers.transfer(file, toDisk)
      const far = 2 ** 33 + 5
      expect(transfer.write(describeThree, 100, LENGTH)).toBe('taken')
      expect(transfer.write(describeThree, far, LENGTH)).toBe('taken')
      expect(transfer.pending()).toBe(2)
      expect(isRung()).toBe(false)
      drain()
      expect(isRung()).toBe(true)
      expect(transfer.pending()).toBe(0)
      expect(transfer.error).toBe(undefined)
      for (const offset of [100, far]) {
        const bytes = Buffer.alloc(LENGTH)
        expect(fs.readSync(file, bytes, 0, LENGTH, offset)).toBe(LENGTH)
        expect(bytes).toEqual(expected())
      }
      expect(isNothingPinned()).toBe(true)
    },
  )

  test.each(['all', 'data', 'file system'] as const)(
    'data workers sync a host file (%s), and report the result of the kernel',
    (kind) => {
      const good = background()
      const transfer = good.background.transfer(file, true)
      expect(transfer.sync(kind)).toBe('taken')
      expect(pendingAges(good.shared).length).toBe(1)
      good.drain()
      expect([transfer.pending(), transfer.error]).toEqual([0, undefined])
      const bad = background()
      const closed = fs.openSync(folder, 'r')
      fs.closeSync(closed)
      const failing = bad.background.transfer(closed, true)
      failing.sync(kind)
      bad.drain()
      expect(failing.pending()).toBe(0)
      expect(failing.error?.code).toBe('EBADF')
    },
  )

  test('data workers request the following data of the image before they read', () => {
    const { background: workers, drain, store } = background()
    const asked: unknown[] = []
    Object.assign(store, {
      willNeed: (...range: number[]) => asked.push([...range, store.decoded.length]),
    })
    const transfer = workers.transfer(file, false)
    transfer.write(describeThree, 0, LENGTH)
    transfer.write((sink) => sink.hole(BLOCK), LENGTH, BLOCK)
    drain()
    expect(transfer.pending()).toBe(0)
    // Behind the last block of the piece, which is stored in 10 bytes; nothing follows a hole.
    expect(asked).toEqual([[0, BLOCK + 10, 8 << 20, 0]])
  })

  test('data workers report a full disk', () => {
    const { background: workers, drain, isNothingPinned } = background()
    const full = fs.openSync('/dev/full', 'w')
    try {
      const transfer = workers.transfer(full, false)
      transfer.write(describeThree, 0, LENGTH)
      drain()
      expect(transfer.pending()).toBe(0)
      expect(transfer.error?.code).toBe('ENOSPC')
      expect(isNothingPinned()).toBe(true)
    } finally {
      fs.closeSync(full)
    }
  })

  test('data workers write no part of a piece with a damaged block, and log the damage', () => {
    const { background: workers, drain, store, log, isNothingPinned } = background()
    store.damaged.add(BLOCK)
    const transfer = workers.transfer(file, false)
    transfer.write(describeThree, 0, LENGTH)
    drain()
    expect(transfer.pending()).toBe(0)
    expect(transfer.error?.code).toBe('EIO')
    expect(fs.fstatSync(file).size).toBe(0)
    expect(log.join()).toContain('block 4096 is damaged')
    expect(isNothingPinned()).toBe(true)
  })

  test('data workers accept one piece each and one more, then report busy', () => {
    const { background: workers } = background(16, 2)
    const transfer = workers.transfer(file, false)
    const outcomes = Array.from({ length: 4 }, (_, i) => transfer.write(describeThree, i * LENGTH, LENGTH))
    expect(outcomes).toEqual(['taken', 'taken', 'taken', 'busy'])
  })

  test('data workers refuse what is no block or exceeds the cache, and report busy while the cache is in use', () => {
    const { background: workers, isNothingPinned } = background(8)
    const transfer = workers.transfer(file, false)
    expect(transfer.write((sink) => sink.file(3, 0, 10), 0, 10)).toBe('unable')
    const many = (sink: ExtentSink) => {
      for (let i = 0; i < 9; i++) sink.block(blockAt(i * BLOCK), 0, BLOCK)
    }
    expect(transfer.write(many, 0, 9 * BLOCK)).toBe('unable')
    expect(isNothingPinned()).toBe(true)
    expect(transfer.write((sink) => sink.block(blockAt(0), 0, BLOCK), 0, BLOCK)).toBe('taken')
    expect(transfer.write(many, 0, 9 * BLOCK)).toBe('busy')
  })

  test('data workers are not used for a file that describes less data than it should', () => {
    const { background: workers, isNothingPinned } = background()
    const transfer = workers.transfer(file, false)
    expect(() => transfer.write(describeThree, 0, LENGTH + 1)).toThrow(FsError)
    expect(transfer.pending()).toBe(0)
    expect(isNothingPinned()).toBe(true)
  })
})

describe('JobTable', () => {
  test('JobTable gives out each place once, and again when it is free', () => {
    const jobs = new JobTable(allocateShared(BLOCK, 8 * BLOCK, 1))
    const taken = Array.from({ length: MAX_JOBS }, () => {
      const job = jobs.take()
      if (job !== undefined) jobs.putSync(job, 'all', 0)
      return job
    })
    expect(new Set(taken).size).toBe(MAX_JOBS)
    expect(jobs.take()).toBe(undefined)
    expect(jobs.collect(5)).toBe(undefined)
    jobs.end(5, 28)
    expect(jobs.collect(5)).toBe(28)
    expect(jobs.collect(5)).toBe(undefined)
    expect(jobs.take()).toBe(5)
  })

  test('JobTable keeps the description of a job', () => {
    const jobs = new JobTable(allocateShared(BLOCK, 8 * BLOCK, 1))
    const segments = Int32Array.of(-1, 0, 7, 3, 4, 5)
    const token = { low: 0xffff_fffe, high: 7 }
    jobs.putReply(1, token, segments)
    jobs.putWrite(2, 'write out', 33, 2 ** 40 + 3, segments)
    expect([jobs.kind(1), jobs.token(1)]).toEqual(['reply', token])
    expect([jobs.kind(2), jobs.fd(2), jobs.offset(2)]).toEqual(['write out', 33, 2 ** 40 + 3])
    for (const job of [1, 2]) expect([...jobs.segments(job)]).toEqual([...segments])
    expect(jobs.age(3)).toBe(undefined)
    expect(jobs.age(1)).toBeGreaterThanOrEqual(0)
  })
})

describe('a bell', () => {
  test('a bell stays rung until it is cleared', () => {
    clearBell(bell)
    expect(isRung()).toBe(false)
    ringBell(bell)
    ringBell(bell)
    expect(isRung()).toBe(true)
    clearBell(bell)
    expect(isRung()).toBe(false)
  })
})
