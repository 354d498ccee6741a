import { closeSync, openSync, readSync } from 'node:fs'
import { createRequire } from 'node:module'
import type Koffi from 'koffi'

const requireHere = createRequire(import.meta.url)

/**
 * The foreign function library. It is CommonJS: an import would make Node search its sources for exported names, at
 * some 10 ms for each thread. So it is required.
 */
export const koffi = loadFile() ?? (requireHere('koffi') as typeof Koffi)

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
