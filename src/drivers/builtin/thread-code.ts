import fs from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Worker } from 'node:worker_threads'
import { ffiFile, type HeldFiles } from '../../sys/ffi/koffi.ts'
import { codePlace, openCodeFolder, readCode } from '../../sys/plain/compiled-code.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import { withoutRoot } from '../../sys/process/without-root.ts'
import { type EntryName, type HeldProgram, loadedScript, startWaiting } from '../../threads.ts'

/** How long a new thread may take to its first line, until the caller goes on. */
const FIRST_LINE_MS = 1000

/** Address space that V8 reserves for a thread, some 600 MB, and room to work in. */
export const THREAD_ADDRESS_SPACE = 768 << 20

/** The code of a thread, held open. */
export interface ThreadCode {
  /**
   * Starts one. No path is resolved for it: the caller's files may be gone by now, and its root directory another
   * one (docs/adr/0033-workers-on-demand.md).
   * @throws where the machine has no room for another thread
   */
  start(name: string, data: object): Worker
}

/**
 * Opens what a thread needs to start later. To be called while paths can be resolved; the end of the process closes the
 * files.
 * @param isHurried false for one that hardly ever starts: nothing that V8 compiled of it is kept in memory
 * @returns undefined where that cannot be: the sources themselves run, or the files are not those that the package has
 */
export function holdThreadCode(
  entry: 'data-worker' | 'dispatcher',
  { isHurried }: { readonly isHurried: boolean },
): ThreadCode | undefined {
  const loaded = loadedScript(entry)
  const ffiPath = ffiFile()
  if (loaded === undefined || ffiPath === undefined) return undefined
  const file = fileURLToPath(loaded.file)
  let script: number
  let ffi: number
  let loader: string
  try {
    loader = fs.readFileSync(loaded.loader, 'latin1')
    script = fs.openSync(file, 'r')
    ffi = fs.openSync(ffiPath, 'r')
  } catch {
    return undefined
  }
  const { code, folder } = isHurried ? compiledCode(entry, script) : {}
  // One thread writes the code down, and closes the folder: the mount shall not hold a file system for long that it
  // does not need.
  let codeFolder = folder
  return {
    start(name, data) {
      const gate = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
      const url = loaded.file.href
      const held: HeldProgram & HeldFiles = { name: entry, script, ffi, file, url, code, codeFolder, gate }
      codeFolder = undefined
      const thread = withoutRoot(() => {
        const started = startWaiting(loader, [], name, held)
        Atomics.wait(gate, 0, 0, FIRST_LINE_MS)
        return started
      })
      thread.give(data)
      return thread.worker
    },
  }
}

/** Bytes of a program that hold its digest. */
const HEAD = 64

/** @returns what V8 compiled of the script in an earlier run, or the folder for what it compiles in this one */
function compiledCode(
  entry: EntryName,
  script: number,
): { readonly code?: Uint8Array; readonly folder?: number } {
  const head = Buffer.alloc(HEAD)
  fs.readSync(script, head, 0, HEAD, 0)
  const place = codePlace(entry, head.toString('latin1'), openCodeFolder)
  if (place === undefined) return {}
  const file = readCode(place, descriptorPath(place.folder))
  if (file === undefined) return { folder: place.folder }
  fs.closeSync(place.folder)
  const code = new Uint8Array(new SharedArrayBuffer(file.data.length))
  code.set(file.data)
  return { code }
}
