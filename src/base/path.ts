import { isUtf8 } from 'node:buffer'
import { FsError } from './errno.ts'
import type { Name } from './file-system.ts'
import { NAME_MAX } from './stat.ts'

/**
 * A path of this machine as text. Paths are bytes. Those that are UTF-8 are this text, and a byte that belongs to no
 * character stands in it as U+DC00 plus its value, a lone surrogate, which no UTF-8 gives (Python's `surrogateescape`,
 * PEP 383). So every path has one text and keeps its bytes, texts can be cut, joined and compared as usual, and JSON
 * carries them. System calls get `systemPath` or `encodePath` of it; messages get `printable`.
 */
export type PathText = string

const RAW_BYTE = /[\udc80-\udcff]/u
const RAW_BASE = 0xdc00

/** The text of a path that came as bytes. */
export function decodePath(bytes: Uint8Array): PathText {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const text = buffer.toString('utf8')
  // U+FFFD stands for what is no UTF-8, and for itself.
  return text.includes('\ufffd') ? decodeMixed(buffer) : text
}

function decodeMixed(bytes: Buffer): PathText {
  let text = ''
  for (let at = 0; at < bytes.length; ) {
    const character = bytes.subarray(at, at + sequenceLength(bytes[at] ?? 0))
    const isValid = isUtf8(character)
    text += isValid ? character.toString('utf8') : String.fromCharCode(RAW_BASE + (bytes[at] ?? 0))
    at += isValid ? character.length : 1
  }
  return text
}

/** Bytes of a character by its first one (RFC 3629, section 3); whether it is one, the bytes tell together. */
function sequenceLength(first: number): number {
  if (first < 0xc0) return 1
  if (first < 0xe0) return 2
  return first < 0xf0 ? 3 : 4
}

/** The bytes of a path. */
export function encodePath(path: PathText): Buffer {
  if (!RAW_BYTE.test(path)) return Buffer.from(path, 'utf8')
  // With a group in the pattern, what it finds stays in the list, at its odd places.
  const parts = path.split(/([\udc80-\udcff])/u)
  return Buffer.concat(
    parts.map((part, i) => (i % 2 === 1 ? Buffer.of(part.charCodeAt(0) - RAW_BASE) : Buffer.from(part))),
  )
}

/** A path as the functions of node:fs take it: text where that has the right bytes. */
export function systemPath(path: PathText): string | Buffer {
  return RAW_BYTE.test(path) ? encodePath(path) : path
}

/**
 * Why a value cannot be the path or the name that it is given for; undefined where it can. Programs in JavaScript have no
 * compiler that refuses other values.
 * @param what its name, for the message
 */
export function complaintOf(what: string, value: unknown): string | undefined {
  if (typeof value !== 'string')
    return `${what} must be text, and it is ${value === null ? null : typeof value}`
  return value.includes('\0') ? `${what} contains a NUL character` : undefined
}

/** Whether `inner` is `outer` or lies in it; both absolute and without symbolic links. */
export function containsPath(outer: PathText, inner: PathText): boolean {
  return inner === outer || inner.startsWith(outer === '/' ? '/' : `${outer}/`)
}

/**
 * The names of a path from the root of a tree, without empty ones and `.`; none is the root.
 * @param what has the path, for messages
 * @throws FsError EINVAL for a path that leads out of the tree, or has a NUL in it; ENAMETOOLONG
 */
export function namesOfPath(path: Name, what: string): Name[] {
  const names: Name[] = []
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue
    if (name === '..') throw new FsError('EINVAL', `${what}: ${JSON.stringify(path)} leads upwards with ".."`)
    if (name.includes('\0')) throw new FsError('EINVAL', `${what}: ${JSON.stringify(path)} has a NUL in it`)
    if (name.length > NAME_MAX) {
      const long = JSON.stringify(`${name.slice(0, 40)}…`)
      throw new FsError('ENAMETOOLONG', `${what}: name ${long} of ${name.length} bytes, at most ${NAME_MAX}`)
    }
    names.push(name)
  }
  return names
}
