import { createHash } from 'node:crypto'
import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../src/base/index.ts'
import { readXattrs } from '../library/programs/native.ts'

/** What can be asked of one name. Each is answered or refused by itself. */
export type Facet = 'stat' | 'names' | 'target' | 'xattrs' | 'content'

/**
 * The answers about one name, as text that compares. An error is its name behind `!`. `content` has one such text
 * for each piece of `PIECE` bytes, joined by blanks, so that one damaged piece does not hide the others.
 */
export type Item = Readonly<Partial<Record<Facet, string>>>

/** A damaged tree may be endless, so every survey is bounded. */
export interface SurveyLimits {
  /** Names to look at. */
  readonly entries: number
  /** Bytes to read of one file. */
  readonly fileBytes: number
  /** Levels of directories. */
  readonly depth: number
}

export interface Survey {
  /** By path relative to the root, as a "binary" string; the root is the empty one. */
  readonly items: Readonly<Record<string, Item>>
  /** A limit was met. */
  readonly limited: boolean
}

/** Bytes of content that are judged together. */
export const PIECE = 32_768
export const NO_LIMITS: SurveyLimits = { entries: 1e6, fileBytes: 2 ** 40, depth: 1000 }
const buffer = Buffer.alloc(PIECE)

/**
 * Asks everything about a tree and goes on after errors. The paths in `known` are asked for by name too, whether
 * or not a listing shows them. Synchronous: only for a process that may hang.
 */
export function survey(root: string, known: readonly string[], limits: SurveyLimits): Survey {
  const items: Record<string, Item> = {}
  const pending = [...known, '']
  let count = 0
  let limited = false
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (Object.hasOwn(items, path)) continue
    count += 1
    if (count > limits.entries || path.split('/').length > limits.depth) {
      limited = true
      continue
    }
    const { item, names, cut } = look(Buffer.concat([Buffer.from(`${root}/`), latin1(path)]), limits)
    items[path] = item
    limited ||= cut
    for (const name of names) pending.push(path === '' ? name : `${path}/${name}`)
  }
  return { items, limited }
}

interface Look {
  readonly item: Item
  readonly names: readonly string[]
  readonly cut: boolean
}

function look(path: Buffer, limits: SurveyLimits): Look {
  const item: Partial<Record<Facet, string>> = {}
  let names: readonly string[] = []
  let type = 0
  let size = 0
  item.stat = answer(() => {
    const stat = lstatSync(path, { bigint: true })
    type = Number(stat.mode) & S_IFMT
    size = type === S_IFDIR ? 0 : Number(stat.size)
    const { mode, uid, gid, nlink, ino, rdev, mtimeNs } = stat
    return [mode.toString(8), uid, gid, size, nlink, ino, rdev, mtimeNs].join(' ')
  })
  if (item.stat.startsWith('!')) return { item, names, cut: false }
  item.xattrs = answer(() => JSON.stringify(readXattrs(path)))
  if (type === S_IFLNK) item.target = answer(() => JSON.stringify(readlinkSync(path, 'latin1')))
  if (type === S_IFDIR) {
    item.names = answer(() => {
      names = readdirSync(path, 'latin1').sort()
      return JSON.stringify(names)
    })
  }
  if (type === S_IFREG) item.content = content(path, Math.min(size, limits.fileBytes))
  return { item, names, cut: type === S_IFREG && size > limits.fileBytes }
}

function content(path: Buffer, size: number): string {
  let fd = -1
  const opened = answer(() => {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    return ''
  })
  if (fd < 0) return opened
  try {
    const pieces: string[] = []
    // One read beyond the end, which must be empty.
    for (let at = 0; at <= size; at += PIECE) {
      pieces.push(
        answer(() => {
          const length = readPiece(fd, at)
          return `${length}:${createHash('sha1').update(buffer.subarray(0, length)).digest('base64')}`
        }),
      )
    }
    return pieces.join(' ')
  } finally {
    closeSync(fd)
  }
}

/** As much as there is: the kernel answers a read that meets a damaged page with what stands before it. */
function readPiece(fd: number, at: number): number {
  let length = 0
  for (let got = -1; got !== 0 && length < PIECE; length += got) {
    got = readSync(fd, buffer, length, PIECE - length, at + length)
  }
  return length
}

function answer(ask: () => string): string {
  try {
    return ask()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const number = /errno (\d+)$/.exec(message)?.[1]
    return `!${code ?? (number === undefined ? message : getSystemErrorName(-Number(number)))}`
  }
}

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}
