import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { ffiFile } from '../../sys/ffi/koffi.ts'
import { withoutRoot } from '../../sys/process/without-root.ts'
import { scriptUrl, startWaiting } from '../../threads.ts'
import type { HeldScript } from './thread-messages.ts'

/** How long a new thread may take to its first line, until the caller goes on. */
const FIRST_LINE_MS = 1000

/**
 * The first program of a thread: reads the script by its descriptor and runs it as `src/loader.ts` does; from the
 * names of its file nothing is loaded.
 */
const FIRST_LINES = `
const { held } = require('node:worker_threads').workerData
Atomics.store(held.gate, 0, 1)
Atomics.notify(held.gate, 0)
const { fstatSync, readSync } = require('node:fs')
const { Script } = require('node:vm')
const bytes = Buffer.alloc(fstatSync(held.script).size)
let length = 0
for (let n = 1; n > 0; length += n) n = readSync(held.script, bytes, length, bytes.length - length, length)
const source = '(function (exports, require, module, __filename, __dirname, __fileUrl) {' + bytes.latin1Slice(0, length) + '\\n})'
new Script(source, { filename: held.file }).runInThisContext()({}, require, {}, held.file, '', held.url)
`

/** The code of data workers, held open. */
export interface WorkerCode {
  /**
   * Starts a worker. No path is resolved for it: the caller's files may be gone by now, and its root directory another
   * one (docs/adr/0033-workers-on-demand.md).
   * @throws where the machine has no room for another thread
   */
  start(name: string, data: object): Worker
}

/**
 * Opens what a data worker needs to start later. To be called while paths can be resolved; the end of the process closes
 * the files.
 * @returns undefined where that cannot be: the sources themselves run, or the files are not those that the package has
 */
export function holdWorkerCode(): WorkerCode | undefined {
  const url = scriptUrl('data-worker')
  const ffiPath = ffiFile()
  if (url === undefined || ffiPath === undefined) return undefined
  const file = fileURLToPath(url)
  let script: number
  let ffi: number
  try {
    script = fs.openSync(file, 'r')
    ffi = fs.openSync(ffiPath, 'r')
  } catch {
    return undefined
  }
  return {
    start(name, data) {
      const gate = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
      const held: HeldScript = { script, ffi, file, url: url.href, gate }
      const thread = withoutRoot(() => {
        const started = startWaiting(FIRST_LINES, [], name, held)
        // What Node looks for by path at the start of a thread it has looked for by then.
        Atomics.wait(gate, 0, 0, FIRST_LINE_MS)
        return started
      })
      thread.give(data)
      return thread.worker
    },
  }
}
