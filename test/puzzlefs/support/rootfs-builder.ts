import { MessageBuilder, type Segmentation, type Spot } from './message-builder.ts'

/** Tags of inodes. */
export const TAGS = {
  unknown: 0,
  fifo: 1,
  chr: 2,
  dir: 3,
  blk: 4,
  file: 5,
  lnk: 6,
  sock: 7,
  wht: 8,
} as const

/** A piece of a file in a chunk. */
export interface ChunkDefinition {
  readonly digest: Uint8Array
  readonly length: number | bigint
  readonly offset?: number | bigint
  readonly compressed?: boolean
}

/** An inode as it is stored. */
export interface InodeDefinition {
  readonly ino: number | bigint
  readonly tag: number
  readonly permissions?: number
  readonly uid?: number
  readonly gid?: number
  readonly device?: readonly [major: number | bigint, minor: number | bigint]
  readonly entries?: readonly (readonly [name: string | Uint8Array, ino: number | bigint])[]
  readonly lookBelow?: boolean
  readonly chunks?: readonly ChunkDefinition[]
  readonly target?: string
  readonly xattrs?: readonly (readonly [name: string, value: string])[]
}

/** A whole rootfs as it is stored. */
export interface RootfsDefinition {
  readonly version?: number
  /** Topmost first. */
  readonly layers: readonly (readonly InodeDefinition[])[]
  readonly chunks?: readonly (readonly [digest: Uint8Array, verity: Uint8Array])[]
  readonly segmentation?: Segmentation
}

/** Writes the metadata of an image, sensible or not. */
export function buildRootfs({ version = 3, layers, chunks = [], segmentation }: RootfsDefinition): Buffer {
  const to = new MessageBuilder(segmentation)
  const root = to.struct({ data: 1, pointers: 2 })
  to.root(root)
  word(to, root, 0, version)
  const vectors = to.list(layers.length, { data: 0, pointers: 1 })
  to.point(root, 1, vectors)
  layers.forEach((inodes, i) => {
    const list = to.list(inodes.length, { data: 3, pointers: 2 })
    to.point({ segment: vectors.segment, word: vectors.first + i }, 0, list)
    for (const [j, inode] of inodes.entries()) {
      putInode(to, { segment: list.segment, word: list.first + j * 5 }, inode)
    }
  })
  const table = to.list(chunks.length, { data: 0, pointers: 2 })
  to.point(root, 2, table)
  chunks.forEach(([digest, verity], i) => {
    const at = { segment: table.segment, word: table.first + i * 2 }
    to.point(at, 0, to.data(digest))
    to.point(at, 1, to.data(verity))
  })
  return to.finish()
}

function word(to: MessageBuilder, at: Spot, offset: number, value: number | bigint): void {
  const all = BigInt(value)
  to.put(at, offset, Number(all & 0xffffffffn), Number(all >> 32n))
}

function putInode(to: MessageBuilder, at: Spot, inode: InodeDefinition): void {
  const {
    ino,
    tag,
    permissions = 0o644,
    uid = 0,
    gid = 0,
    device,
    entries,
    lookBelow,
    chunks,
    target,
    xattrs,
  } = inode
  word(to, at, 0, ino)
  to.put(at, 1, tag + permissions * 2 ** 16, uid)
  to.put(at, 2, gid, 0)
  if (device !== undefined) {
    const struct = to.struct({ data: 2, pointers: 0 })
    for (const [i, number] of device.entries()) word(to, struct, i, number)
    to.point(at, 3, struct)
  }
  if (entries !== undefined) {
    const directory = to.struct({ data: 1, pointers: 1 })
    to.point(at, 3, directory)
    word(to, directory, 0, lookBelow === true ? 1 : 0)
    const list = to.list(entries.length, { data: 1, pointers: 1 })
    to.point(directory, 1, list)
    entries.forEach(([name, number], i) => {
      const entry = { segment: list.segment, word: list.first + 2 * i }
      word(to, entry, 0, number)
      to.point(entry, 1, to.data(Buffer.from(name as string)))
    })
  }
  if (chunks !== undefined) putChunks(to, at, chunks)
  if (target === undefined && xattrs === undefined) return
  const additional = to.struct({ data: 0, pointers: 2 })
  to.point(at, 4, additional)
  if (target !== undefined) to.point(additional, 1, to.data(Buffer.from(target)))
  if (xattrs === undefined) return
  const list = to.list(xattrs.length, { data: 0, pointers: 2 })
  to.point(additional, 0, list)
  xattrs.forEach(([name, value], i) => {
    const one = { segment: list.segment, word: list.first + 2 * i }
    to.point(one, 0, to.data(Buffer.from(name)))
    to.point(one, 1, to.data(Buffer.from(value)))
  })
}

function putChunks(to: MessageBuilder, at: Spot, chunks: readonly ChunkDefinition[]): void {
  const list = to.list(chunks.length, { data: 1, pointers: 1 })
  to.point(at, 3, list)
  chunks.forEach(({ digest, length, offset = 0, compressed = false }, i) => {
    const chunk = { segment: list.segment, word: list.first + 2 * i }
    word(to, chunk, 0, length)
    const blob = to.struct({ data: 2, pointers: 1 })
    to.point(chunk, 1, blob)
    word(to, blob, 0, offset)
    word(to, blob, 1, compressed ? 1 : 0)
    to.point(blob, 2, to.data(digest))
  })
}
