import { readlinkSync } from 'node:fs'
import { resolve } from 'node:path'
import { decodePath, type PathText } from '../../base/index.ts'

/** The working directory of this process. */
export function workingDirectory(): PathText {
  const text = process.cwd()
  // U+FFFD stands for what is no UTF-8, and for itself.
  return text.includes('\ufffd') ? decodePath(readlinkSync('/proc/self/cwd', { encoding: 'buffer' })) : text
}

/** The same path from the root, with all of its parts: `a/link/..` is left to the kernel. */
export function anchoredPath(path: PathText): PathText {
  return path.startsWith('/') ? path : `${workingDirectory()}/${path}`
}

/** As `resolve` of node:path, from the working directory: `..` is taken away without a look at links. */
export function absolutePath(path: PathText): PathText {
  return resolve(workingDirectory(), path)
}
