import { readlinkSync } from 'node:fs'
import { resolve } from 'node:path'
import { decodePath, type PathText } from '../../base/index.ts'

/** The working directory of this process. */
export function workingDirectory(): PathText {
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
