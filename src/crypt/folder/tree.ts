import type { ByteSource, ErrnoCode, Name, Ref, Stat } from '../../base/index.ts'
import { FsError } from '../../base/index.ts'

/** Names in one folder and all below it. */
export const MOST_NAMES = 65_536
/** Bytes of a tree: a name and its attributes take some 300, and a target 4096 at most. */
const TREE_LIMIT = 64 << 20

/** One name of an encrypted folder, as it is shown. Plain data. */
export interface FolderNode {
  readonly name: Name
  /** Of the root: its own. */
  readonly parent: Ref
  readonly stat: Stat
  /** Of a symbolic link. */
  readonly target?: Name
  /** Which of the encrypted files has its content. Absent: there is none. */
  readonly file?: number
  /** Why its content cannot be read. */
  readonly fault?: ErrnoCode
}

/** @throws FsError EFBIG */
export function encodeTree(nodes: readonly FolderNode[], label: string): Buffer {
  const bytes = Buffer.from(JSON.stringify(nodes))
  if (bytes.length <= TREE_LIMIT) return bytes
  throw new FsError('EFBIG', `${label}: its names and attributes take more than ${TREE_LIMIT} bytes`)
}

/** Reads what `encodeTree` of this program has written into a file in memory. */
export function decodeTree(source: ByteSource): readonly FolderNode[] {
  const bytes = Buffer.alloc(source.size)
  source.readInto(0, bytes)
  return JSON.parse(bytes.toString()) as FolderNode[]
}
