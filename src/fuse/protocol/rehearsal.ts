import { type DataPath, DT_DIR, type FileSystem, type NodeId, ROOT_NODE_ID } from '../../base/index.ts'
import * as abi from './abi.ts'
import { Protocol } from './protocol.ts'

/** Names to list: some 200 functions run for each directory, and the engine compiles what has run some thousand times. */
const NAMES = 24_000
/** One name of so many is looked up as well. */
const LOOKED_UP = 8
/** Room of one listing, bytes: as much as the kernel asks for at a time. */
const LISTING_SIZE = 4096
/** Most directories that may wait to be listed. */
const WAITING_DIRECTORIES = 1000

const UNUSED_PATH: DataPath = {
  read: () => {
    throw new RangeError('a rehearsal reads no data')
  },
}

/**
 * Runs the code that answers requests over the image before the first client needs it, so that the engine compiles it.
 * Interpreted code is some ten times slower, and the first walk through a tree would pay for it
 * (docs/adr/0012-rehearsal.md). The rehearsal has a file system of its own: it leaves no state, no count and no
 * message.
 */
export class Rehearsal {
  readonly #protocol: Protocol
  readonly #view: DataView
  readonly #waiting: NodeId[] = [ROOT_NODE_ID]
  /** Cookie from which to list the first waiting directory. */
  #cookie = 0
  #names = 0

  constructor(fileSystem: FileSystem) {
    this.#protocol = new Protocol({ fileSystem, dataPath: UNUSED_PATH, log: () => undefined })
    const { requestBytes } = this.#protocol
    this.#view = new DataView(requestBytes.buffer, requestBytes.byteOffset, requestBytes.byteLength)
  }

  /** Lists some names of one directory, in about a millisecond. @returns false when there is nothing left to do */
  step(): boolean {
    const [directory] = this.#waiting
    if (directory === undefined || this.#names >= NAMES) return false
    // A listing counts as a name, so that the rehearsal ends for every tree.
    this.#names += 1
    const size = this.#list(directory, this.#cookie)
    const next = this.#takeEntries(directory, size)
    if (next === undefined) this.#waiting.shift()
    this.#cookie = next ?? 0
    return true
  }

  #list(directory: NodeId, cookie: number): number {
    const body = abi.IN_HEADER_SIZE
    this.#view.setBigUint64(body, 0n, true)
    this.#view.setBigUint64(body + 8, BigInt(cookie), true)
    this.#view.setUint32(body + 16, LISTING_SIZE, true)
    return this.#handle(abi.FUSE_READDIRPLUS, directory, 40)
  }

  /** Reads the reply to READDIRPLUS. @returns the cookie to go on with, undefined at the end */
  #takeEntries(directory: NodeId, size: number): number | undefined {
    // A copy: each name uses the buffer again.
    const reply = Buffer.from(this.#protocol.replyBytes.subarray(0, Math.max(size, abi.OUT_HEADER_SIZE)))
    let cookie: number | undefined
    let at = abi.OUT_HEADER_SIZE
    while (at + abi.ENTRY_OUT_SIZE + abi.DIRENT_SIZE <= reply.length) {
      const dirent = at + abi.ENTRY_OUT_SIZE
      const nodeId = Number(reply.readBigUInt64LE(at))
      const length = reply.readUInt32LE(dirent + 16)
      const name = reply.subarray(dirent + abi.DIRENT_SIZE, dirent + abi.DIRENT_SIZE + length)
      cookie = Number(reply.readBigUInt64LE(dirent + 8))
      if (nodeId !== 0) this.#meet(directory, nodeId, name, reply.readUInt32LE(dirent + 20))
      at = dirent + Math.ceil((abi.DIRENT_SIZE + length) / 8) * 8
    }
    return cookie
  }

  #meet(directory: NodeId, nodeId: NodeId, name: Buffer, type: number): void {
    this.#names += 1
    if (type === DT_DIR && this.#waiting.length < WAITING_DIRECTORIES) this.#waiting.push(nodeId)
    if (this.#names % LOOKED_UP !== 0) return
    name.copy(this.#protocol.requestBytes, abi.IN_HEADER_SIZE)
    this.#view.setUint8(abi.IN_HEADER_SIZE + name.length, 0)
    this.#handle(abi.FUSE_LOOKUP, directory, name.length + 1)
    this.#handle(abi.FUSE_GETATTR, nodeId, 16)
  }

  /** @returns bytes of the reply, 0 where there is none */
  #handle(opcode: number, nodeId: NodeId, bodySize: number): number {
    const length = abi.IN_HEADER_SIZE + bodySize
    this.#view.setUint32(0, length, true)
    this.#view.setUint32(4, opcode, true)
    this.#view.setBigUint64(16, BigInt(nodeId), true)
    return this.#protocol.handle(length) === 'reply' ? this.#protocol.replySize : 0
  }
}

/**
 * A rehearsal as work for idle moments; the function returns false when it is over. It ignores errors: a client that
 * makes the same request gets them.
 * @param open gives the file system; called at the first idle moment
 */
export function rehearse(open: () => FileSystem): () => boolean {
  let rehearsal: Rehearsal | undefined
  return () => {
    try {
      rehearsal ??= new Rehearsal(open())
      if (rehearsal.step()) return true
    } catch {
      // For example, the image was truncated after the mount.
    }
    rehearsal = undefined
    return false
  }
}
