import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { DataWorkers } from '../../../src/drivers/builtin/data-workers.ts'
import type { ThreadData } from '../../../src/drivers/builtin/thread-messages.ts'
import { Staff } from '../../../src/fuse/blocks/staff.ts'
import { TaskQueue } from '../../../src/fuse/blocks/task-queue.ts'
import { allocateShared } from '../../../src/fuse/index.ts'
import { until } from '../../library/programs/wait.ts'

/** A thread that says what it is told to say, and ends after `left`. */
const PARROT = `
  const { parentPort } = require('node:worker_threads')
  parentPort.on('message', (type) => {
    parentPort.postMessage({ type })
    if (type === 'left') parentPort.close()
  })`

test('a worker that is wanted while the one before it comes and leaves is started', async () => {
  const shared = allocateShared(4096, 1 << 20, 2)
  const started: Worker[] = []
  const workers = new DataWorkers({
    data: () => ({ shared }) as unknown as ThreadData,
    most: 2,
    code: {
      start() {
        const worker = new Worker(PARROT, { eval: true })
        started.push(worker)
        return worker
      },
    },
    log: () => undefined,
    onMessage: () => undefined,
    onEmpty: () => undefined,
  })
  const dispatcher = new Staff(shared)
  const end = (worker: Worker | undefined): void => {
    worker?.postMessage('ready')
    worker?.postMessage('left')
  }
  try {
    expect(dispatcher.want()).toBe(true)
    workers.call()
    // The worker does what it came for, and leaves, before its first message arrives.
    const worker = new Staff(shared)
    worker.enter()
    expect(worker.leave(new TaskQueue(shared))).toBe(true)
    expect(dispatcher.want()).toBe(true)
    workers.call()
    expect(started).toHaveLength(1)
    end(started[0])
    await until(() => started.length === 2, 'the second worker')
    // A wish that was fulfilled starts nobody.
    new Staff(shared).enter()
    end(started[1])
    await workers.stop()
    expect(started).toHaveLength(2)
  } finally {
    await Promise.all(started.map((worker) => worker.terminate()))
  }
})
