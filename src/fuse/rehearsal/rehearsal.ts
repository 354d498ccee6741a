import { DT_DIR, DT_LNK, DT_REG, type NodeId, ROOT_NODE_ID } from '../../base/index.ts'
import * as abi from '../protocol/abi.ts'
import type { Rehearsed } from './rehearsed.ts'

/** Names to list: some 200 functions run for each directory, and the engine compiles what has run some thousand times. */
const NAMES = 6_000
/** One name of so many is looked up as well. */
const LOOKED_UP = 12
/** Of the first ones each: few images have many names in their root. */
const ALL_LOOKED_UP = 32
/** Paths to walk. */
const PATHS = 500
/** Files to read, twice each: what was decoded before is answered in another way. */
const FILES = 40
/** Most bytes of a READ: the read-ahead of the kernel asks for as many. */
const READ_SIZE = 128 << 10
/** Room of one listing, bytes: as much as the kernel asks for at a time. */
const LISTING_SIZE = 4096
/** Most directories that may wait to be listed. */
const WAITING_DIRECTORIES = 1000
/** include/uapi/asm-generic/ioctls.h: isatty(3), which programs ask of many files that they read. */
const TCGETS = 0x5401
/** Bytes of `struct fuse_read_in`, `fuse_getattr_in`, `fuse_ioctl_in`. */
const READ_IN_SIZE = 40
const GETATTR_IN_SIZE = 16
const IOCTL_IN_SIZE = 32
/** Of the file size in `struct fuse_entry_out`. */
const SIZE_IN_ENTRY = 48
const PAGE = 4096

/** What is left to do; `later`: when the bytes have come that are wanted. */
type Step = 'more' | 'later' | 'done'

/** Names from the root on. */
export type KnownPath = readonly Buffer[]

/** A directory to list. */
interface Directory {
  readonly nodeId: NodeId
  readonly path: KnownPath
}

/**
 * Runs the code that answers requests over the image before the first client needs it, so that the engine compiles it.
 * Interpreted code is some ten times slower, and the first walk through a tree would pay for it
 * (docs/adr/0012-rehearsal.md). The rehearsal has a file system of its own: it leaves no state, no count and no
 * message.
 */
export class Rehearsal {
  readonly #mount: Rehearsed
  readonly #view: DataView
  readonly #waiting: Directory[] = [{ nodeId: ROOT_NODE_ID, path: [] }]
  readonly #known: KnownPath[]
  /** Files to read and paths to walk, before more is listed. The last one comes first. */
  readonly #tasks: (() => void)[]
  /** Directories of the paths that are walked. */
  readonly #directories = new Map<string, NodeId>()
  /** Cookie from which to list the first waiting directory. */
  #cookie = 0
  #names = 0
  #read = 0

  /** @param known paths that an earlier rehearsal met, which this one walks; it adds those that it meets */
  constructor(mount: Rehearsed, known: KnownPath[] = []) {
    this.#mount = mount
    this.#known = known
    this.#tasks = known.map((path) => () => this.#walk(path))
    const { requestBytes } = mount
    this.#view = new DataView(requestBytes.buffer, requestBytes.byteOffset, requestBytes.byteLength)
  }

  /** Reads a file, walks a path, or lists some names of a directory, in about a millisecond. */
  step(): Step {
    const task = this.#tasks.at(-1)
    if (task !== undefined) {
      task()
      if (this.#mount.isWaiting) return 'later'
      this.#tasks.pop()
      return 'more'
    }
    const [directory] = this.#waiting
    if (directory === undefined || this.#names >= NAMES) return 'done'
    const listed = this.#list(directory.nodeId, this.#cookie)
    if (this.#mount.isWaiting) return 'later'
    // A listing counts as a name, so that the rehearsal ends for every tree.
    this.#names += 1
    const next = this.#takeEntries(directory, listed)
    if (next === undefined) this.#waiting.shift()
    this.#cookie = next ?? 0
    return 'more'
  }

  #list(directory: NodeId, cookie: number): Buffer | undefined {
    return this.#ask(abi.FUSE_READDIRPLUS, directory, this.#readIn(cookie, LISTING_SIZE))
  }

  /** @param reply to READDIRPLUS. @returns the cookie to go on with, undefined at the end */
  #takeEntries(directory: Directory, reply: Buffer | undefined): number | undefined {
    // A copy: each name uses the buffer again.
    const entries = Buffer.from(reply ?? '')
    let cookie: number | undefined
    let at = abi.OUT_HEADER_SIZE
    while (at + abi.ENTRY_OUT_SIZE + abi.DIRENT_SIZE <= entries.length) {
      const dirent = at + abi.ENTRY_OUT_SIZE
      const nodeId = Number(entries.readBigUInt64LE(at))
      const length = entries.readUInt32LE(dirent + 16)
      const name = entries.subarray(dirent + abi.DIRENT_SIZE, dirent + abi.DIRENT_SIZE + length)
      cookie = Number(entries.readBigUInt64LE(dirent + 8))
      const size = Number(entries.readBigUInt64LE(at + SIZE_IN_ENTRY))
      if (nodeId !== 0) this.#meet(directory, nodeId, name, entries.readUInt32LE(dirent + 20), size)
      at = dirent + Math.ceil((abi.DIRENT_SIZE + length) / 8) * 8
    }
    return cookie
  }

  #meet(directory: Directory, nodeId: NodeId, name: Buffer, type: number, size: number): void {
    this.#names += 1
    const path = [...directory.path, name]
    if (type === DT_DIR && this.#waiting.length < WAITING_DIRECTORIES) this.#waiting.push({ nodeId, path })
    if (this.#names > ALL_LOOKED_UP && this.#names % LOOKED_UP !== 0) return
    if (this.#known.length < PATHS) this.#known.push(path)
    this.#lookUp(directory.nodeId, name)
    this.#ask(abi.FUSE_GETATTR, nodeId, GETATTR_IN_SIZE)
    this.#ask(abi.FUSE_GETATTR, directory.nodeId, GETATTR_IN_SIZE)
    if (type === DT_LNK) this.#ask(abi.FUSE_READLINK, nodeId, 0)
    if (type !== DT_REG || size === 0 || this.#read >= FILES) return
    this.#read += 1
    const first = Math.min(READ_SIZE, Math.ceil(size / PAGE) * PAGE)
    this.#tasks.push(() => this.#readFile(nodeId, first))
  }

  /** As a program that opens a file: in directories that nobody has listed. The kernel keeps what it has looked up. */
  #walk(path: KnownPath): void {
    const directory = this.#walked(path.slice(0, -1))
    const name = path.at(-1)
    if (directory === undefined || name === undefined) return
    // Most programs look for names that are not there: a library in all folders but the last one.
    this.#lookUp(directory, Buffer.concat([name, name.subarray(0, 1)]))
    const nodeId = nodeOf(this.#lookUp(directory, name))
    if (nodeId !== undefined) this.#ask(abi.FUSE_GETATTR, nodeId, GETATTR_IN_SIZE)
  }

  /** @returns undefined where a directory is not there */
  #walked(path: KnownPath): NodeId | undefined {
    const name = path.at(-1)
    if (name === undefined) return ROOT_NODE_ID
    const key = path.join('/')
    const known = this.#directories.get(key)
    if (known !== undefined) return known
    const above = this.#walked(path.slice(0, -1))
    const found = above === undefined ? undefined : nodeOf(this.#lookUp(above, name))
    if (found !== undefined) this.#directories.set(key, found)
    return found
  }

  #lookUp(directory: NodeId, name: Buffer): Buffer | undefined {
    name.copy(this.#mount.requestBytes, abi.IN_HEADER_SIZE)
    this.#view.setUint8(abi.IN_HEADER_SIZE + name.length, 0)
    return this.#ask(abi.FUSE_LOOKUP, directory, name.length + 1)
  }

  /** @param size bytes of its first READ */
  #readFile(nodeId: NodeId, size: number): void {
    for (let time = 0; time < 2; time++) this.#ask(abi.FUSE_READ, nodeId, this.#readIn(0, size))
    const body = abi.IN_HEADER_SIZE
    this.#mount.requestBytes.fill(0, body, body + IOCTL_IN_SIZE)
    this.#view.setUint32(body + 12, TCGETS, true)
    this.#ask(abi.FUSE_IOCTL, nodeId, IOCTL_IN_SIZE)
  }

  /** Writes `struct fuse_read_in`. @returns its size */
  #readIn(offset: number, size: number): number {
    const body = abi.IN_HEADER_SIZE
    this.#mount.requestBytes.fill(0, body, body + READ_IN_SIZE)
    this.#view.setBigUint64(body + 8, BigInt(offset), true)
    this.#view.setUint32(body + 16, size, true)
    return READ_IN_SIZE
  }

  #ask(opcode: number, nodeId: NodeId, bodySize: number): Buffer | undefined {
    const length = abi.IN_HEADER_SIZE + bodySize
    this.#view.setUint32(0, length, true)
    this.#view.setUint32(4, opcode, true)
    this.#view.setBigUint64(16, BigInt(nodeId), true)
    return this.#mount.ask(length)
  }
}

/** @param reply to LOOKUP. @returns undefined where it has no node */
function nodeOf(reply: Buffer | undefined): NodeId | undefined {
  if (reply === undefined || reply.length < abi.OUT_HEADER_SIZE + abi.ENTRY_OUT_SIZE) return undefined
  return Number(reply.readBigUInt64LE(abi.OUT_HEADER_SIZE)) || undefined
}

/**
 * A rehearsal as work for idle moments; the function returns false when it is over, and 'later' while it waits for bytes
 * that another thread reads. It ignores errors: a client that makes the same request gets them.
 * @param open gives what serves it; called at the first idle moment, and again while it gives nothing yet
 * @param known as for `Rehearsal`
 */
export function rehearse(
  open: () => Rehearsed | undefined,
  known: KnownPath[] = [],
): () => boolean | 'later' {
  let mount: Rehearsed | undefined
  let rehearsal: Rehearsal | undefined
  return () => {
    try {
      mount ??= open()
      if (mount === undefined || mount.isWaiting) return 'later'
      rehearsal ??= new Rehearsal(mount, known)
      const step = rehearsal.step()
      if (step !== 'done') return step === 'later' ? step : true
    } catch {
      // For example, the image was truncated after the mount.
    }
    mount = undefined
    rehearsal = undefined
    return false
  }
}
