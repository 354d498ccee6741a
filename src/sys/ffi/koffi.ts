import { closeSync, existsSync, openSync, readSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { workerData } from 'node:worker_threads'
import type Koffi from 'koffi'
import { isSafeFolder } from '../plain/package-folders.ts'

/** Defined by the build in a program of one thread: it need not load what knows of threads. */
declare const __hasNoThreads: true | undefined

/** What a thread gets that may resolve no path: its files are open. */
export interface HeldFiles {
  /** Descriptor of the native file of the FFI. */
  readonly ffi: number
}

/**
 * The foreign function library. It is CommonJS: an import would make Node search its sources for exported names, at
 * some 10 ms for each thread. So it is required.
 */
export const koffi = loadHeld() ?? loadFile() ?? (requireHere()('koffi') as typeof Koffi)

/** Its native code alone. The package finds out which file that is, and wraps what this program does not use: 3 ms. */
function loadFile(): typeof Koffi | undefined {
  try {
    const folder = `${isOfMusl() ? 'musl' : 'linux'}_${process.arch}`
    const file = `@koromix/koffi-linux-${process.arch}/${folder}/koffi.node`
    return typeof __hasNoThreads === 'undefined' ? (requireHere()(file) as typeof Koffi) : loadAbove(file)
  } catch {
    // Another machine, or packages that lie elsewhere.
    return undefined
  }
}

/** As `require`, without the search for the description of its package: 1 ms. */
function loadAbove(file: string): typeof Koffi | undefined {
  const program = fileURLToPath(import.meta.url)
  for (let folder = dirname(program); folder !== '/'; folder = dirname(folder)) {
    const packages = `${folder}/node_modules`
    const path = `${packages}/${file}`
    if (existsSync(path)) return isSafeFolder(packages) ? open(path) : undefined
  }
  return undefined
}

function open(path: string): typeof Koffi {
  const module = { exports: {} }
  process.dlopen(module, path)
  return module.exports as typeof Koffi
}

function requireHere(): NodeJS.Require {
  return createRequire(import.meta.url)
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
  return Object.keys(requireHere().cache).find((path) => path.endsWith('/koffi.node'))
}

/**
 * The native file by its descriptor, below the working directory (src/sys/plain/proc.ts). The process has it loaded, so
 * the dynamic linker opens it only to see that it is the same.
 */
function loadHeld(): typeof Koffi | undefined {
  const fd = heldFfi()
  if (fd === undefined) return undefined
  return open(`./${fd}`)
}
