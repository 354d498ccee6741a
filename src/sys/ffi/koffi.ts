import { closeSync, openSync, readSync } from 'node:fs'
import { createRequire } from 'node:module'
import { workerData } from 'node:worker_threads'
import type Koffi from 'koffi'

/** Defined by the build in a program of one thread: it need not load what knows of threads. */
declare const __hasNoThreads: true | undefined

const requireHere = createRequire(import.meta.url)

/** What a thread gets that may resolve no path: its files are open. */
export interface HeldFiles {
  /** Descriptor of the native file of the FFI. */
  readonly ffi: number
}

/**
 * The foreign function library. It is CommonJS: an import would make Node search its sources for exported names, at
 * some 10 ms for each thread. So it is required.
 */
export const koffi = loadHeld() ?? loadFile() ?? (requireHere('koffi') as typeof Koffi)

/** Its native code alone. The package finds out which file that is, and wraps what this program does not use: 3 ms. */
function loadFile(): typeof Koffi | undefined {
  try {
    const folder = `${isOfMusl() ? 'musl' : 'linux'}_${process.arch}`
    return requireHere(`@koromix/koffi-linux-${process.arch}/${folder}/koffi.node`) as typeof Koffi
  } catch {
    // Another machine, or packages that lie elsewhere.
    return undefined
  }
}

/** Whether Node runs with musl: its interpreter (PT_INTERP) is named right behind the headers. */
function isOfMusl(): boolean {
  const start = Buffer.alloc(4096)
  const fd = openSync(process.execPath, 'r')
  try {
    readSync(fd, start)
  } finally {
    closeSync(fd)
  }
  return start.includes('/ld-musl-')
}

/** Descriptor of the native file of the FFI in a thread that may resolve no path; undefined in others. */
export function heldFfi(): number | undefined {
  if (typeof __hasNoThreads !== 'undefined') return undefined
  return (workerData as { readonly held?: HeldFiles } | null)?.held?.ffi
}

/** Path of the native file that this thread has loaded; undefined where nobody knows. */
export function ffiFile(): string | undefined {
  return Object.keys(requireHere.cache).find((path) => path.endsWith('/koffi.node'))
}

/**
 * The native file by its descriptor, below the working directory (src/sys/plain/proc.ts). The process has it loaded, so
 * the dynamic linker opens it only to see that it is the same.
 */
function loadHeld(): typeof Koffi | undefined {
  const fd = heldFfi()
  if (fd === undefined) return undefined
  const module = { exports: {} }
  process.dlopen(module, `./${fd}`)
  return module.exports as typeof Koffi
}
