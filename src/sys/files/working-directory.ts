import { readlinkSync } from 'node:fs'
import { resolve } from 'node:path'
import { decodePath, type PathText } from '../../base/index.ts'

let assumed: PathText | undefined

/** Runs `read`, which does not wait, as if this were the working directory: that of somebody else, whose words are read. */
export function assumingDirectory<T>(path: PathText, read: () => T): T {
  assumed = path
  try {
    return read()
  } finally {
    assumed = undefined
  }
}

/** The working directory of this process. */
export function workingDirectory(): PathText {
  if (assumed !== undefined) return assumed
  const text = process.cwd()
  // Node puts U+FFFD in place of bytes that are not UTF-8; a name may contain U+FFFD itself as well.
  return text.includes('\ufffd') ? decodePath(readlinkSync('/proc/self/cwd', { encoding: 'buffer' })) : text
}

/** The same path from the root, with all of its components: the kernel resolves `a/link/..`. */
export function anchoredPath(path: PathText): PathText {
  return path.startsWith('/') ? path : `${workingDirectory()}/${path}`
}

/** As `resolve` of node:path, from the working directory: removes `..` without a look at links. */
export function absolutePath(path: PathText): PathText {
  return resolve(workingDirectory(), path)
}
