import { existsSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { pause } from '../../../src/sys/plain/pause.ts'
import { holdDescriptors } from '../../../src/sys/plain/proc.ts'
import { withoutRoot } from '../../../src/sys/process/without-root.ts'

/** Starts threads in turns that look for absolute paths, each while this thread has no root directory, and tells what they saw. */

const ROUNDS = 4
/** A word for each thread: how often it looked, and how often it found nothing. */
const looks = new Int32Array(new SharedArrayBuffer(ROUNDS * 4))
const misses = new Int32Array(new SharedArrayBuffer(ROUNDS * 4))
const LOOKER = `const { workerData: { looks, misses, i } } = require('node:worker_threads')
const { existsSync } = require('node:fs')
for (;;) {
  if (!existsSync('/proc/self')) Atomics.add(misses, i, 1)
  Atomics.add(looks, i, 1)
}`

holdDescriptors()
const within: boolean[] = []
const after: boolean[] = []
const workers: Worker[] = []
for (let i = 0; i < ROUNDS; i++) {
  workers.push(new Worker(LOOKER, { eval: true, workerData: { looks, misses, i } }))
  while (Atomics.load(looks, i) === 0) pause(1)
  withoutRoot(() => {
    within.push(existsSync('/proc/self'))
    const before = Atomics.load(looks, i)
    while (Atomics.load(looks, i) < before + 100) pause(1)
  })
  after.push(existsSync('/proc/self'))
}
await Promise.all(workers.map((worker) => worker.terminate()))
process.stdout.write(JSON.stringify({ within, after, misses: [...misses] }))
