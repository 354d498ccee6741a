import type { ErrnoCode, PathText } from '../../base/index.ts'
import type { UpperRecord } from '../../molecule/index.ts'
import type { FuseMount, FuseMountOptions } from '../../sys/mounts/mount.ts'
import type { ChangesWish } from '../runtime/changes.ts'

/**
 * What a client and a server of several mounts say to each other (docs/adr/0041-shared-server.md): messages of JSON, each
 * behind its length as 32 bits. Descriptors come with the first byte of a message.
 */

/** The client asks. With one descriptor: what SOURCE leads to, if there is one. */
export interface Wish {
  /** What is the same for all who share a server. */
  readonly key: string
  /** The name by which the program was called, and the words after it. */
  readonly program: string
  readonly words: readonly PathText[]
  /** Which of the words is SOURCE; an overlay has none. */
  readonly source?: SourceWord | undefined
  /** As mount tables show it. */
  readonly target: PathText
  /** Of the client: relative paths among the words begin here. */
  readonly workingDirectory: PathText
}

/** SOURCE, and how it leads to what is open. */
export interface SourceWord {
  readonly text: PathText
  /** The part of the text that is a path begins and ends here. */
  readonly from: number
  readonly to: number
  /** That part, absolute. */
  readonly path: PathText
}

/** The server asks the client to open the lower directories of an overlay: it opens no path of a client. */
export interface LowersWish {
  readonly lowers: readonly PathText[]
}

/** The client has opened them. With a descriptor for each, in their order. */
export interface LowersOpened {
  readonly opened: number
}

/** Most lower directories: the kernel sends 253 descriptors at once (include/net/scm.h:SCM_MAX_FD). */
export const MOST_LOWERS = 250

/** The server asks the client to open what changes go to. */
export interface UpperWish {
  readonly changes: ChangesWish
  /** Directories below it that the client has open, in the order of their descriptors, for messages. */
  readonly lowers: readonly string[]
}

/** The client has opened it. With descriptors: the upper directory, and its work directory where it has one. */
export interface UpperOpened {
  readonly upper: UpperRecord
  /** `major:minor` of its file system. */
  readonly device: string
}

/** The server asks the client to mount. */
export interface MountWish {
  readonly mount: FuseMountOptions
  /** Files and folders of the image, which the target must not cover. */
  readonly imagePaths: readonly PathText[]
  /** Lower directories, in which the target must not lie. */
  readonly directories: readonly PathText[]
}

/** The client has mounted. With one descriptor: the connection to the kernel. */
export type Mounted = Omit<FuseMount, 'fuseFd'>

/** The mount serves. */
export interface Served {
  readonly pid: number
  readonly warnings: readonly string[]
  /** Words that were passed over, a line each. */
  readonly ignored: readonly string[]
  /** What to say where the root of the mount cannot be written to. */
  readonly owner?: string
  /** A mount like this one may have left changes, which the client removes: there may be much of it. */
  readonly sweeps: boolean
}

/** Why the client makes no mount. The server answers with a refusal when nothing of it is left. */
export interface GivenUp {
  readonly givenUp: string
}

/** There will be no mount by this server. */
export interface Refusal {
  readonly refused: string
  readonly code: ErrnoCode
}

/** Most bytes of one message: a command line has some KiB. */
const MAX_BYTES = 4 << 20
export const LENGTH_BYTES = 4

/** A message as it goes over the connection, behind its length in bytes as 32 bits. */
export function encodeMessage(message: object): Buffer {
  const text = Buffer.from(JSON.stringify(message))
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32LE(text.length)
  return Buffer.concat([length, text])
}

/** Puts the pieces of messages together. */
export class Incoming {
  #bytes = Buffer.alloc(0)

  add(piece: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, piece])
  }

  /** @returns a whole message; undefined where there is none yet. @throws RangeError, SyntaxError */
  take(): unknown {
    if (this.#bytes.length < LENGTH_BYTES) return undefined
    const length = this.#bytes.readUInt32LE(0)
    if (length > MAX_BYTES) throw new RangeError(`message of ${length} bytes`)
    const end = LENGTH_BYTES + length
    if (this.#bytes.length < end) return undefined
    const message: unknown = JSON.parse(this.#bytes.toString('utf8', LENGTH_BYTES, end))
    this.#bytes = this.#bytes.subarray(end)
    return message
  }
}
