import { createHash } from 'node:crypto'
import {
  isDirectory,
  isRegular,
  majorOf,
  minorOf,
  PERMISSIONS,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../../../src/base/index.ts'
import type { DecodedInode, DecodedPiece, DecodedRootfs } from './capnp.ts'
import type { SampleChunk } from './sample.ts'
import type { WalkedFile } from './walk.ts'

const TYPES: Readonly<Record<string, number>> = {
  fifo: S_IFIFO,
  chr: S_IFCHR,
  dir: S_IFDIR,
  blk: S_IFBLK,
  file: S_IFREG,
  lnk: S_IFLNK,
  sock: S_IFSOCK,
}

type Chunks = ReadonlyMap<string, SampleChunk>

/**
 * Where a walk shows what does not stand in the message as capnp(1) reads it: there must be nothing.
 * @param walked what could be read; what could not is not in it
 */
export function disagreements(
  walked: readonly WalkedFile[],
  { metadatas = [] }: DecodedRootfs,
  chunks: Chunks,
): readonly string[] {
  const inodes = metadatas.flatMap(({ inodes: vector = [] }) => vector)
  const byPath = new Map(walked.map((file) => [file.path, file]))
  const lines: string[] = []
  for (const file of walked) {
    const candidates = inodes.filter(({ ino }) => ino === `${file.stat.ino}`)
    if (!candidates.some((inode) => isSame(file, inode, chunks))) {
      lines.push(`${JSON.stringify(file)}: none of ${JSON.stringify(candidates)}`)
    }
    const slash = file.path.lastIndexOf('/')
    const parent = slash < 0 ? undefined : byPath.get(file.path.slice(0, slash))
    if (parent !== undefined && !inodes.some((inode) => hasEntry(inode, parent, file))) {
      lines.push(`${file.path}: no such entry`)
    }
  }
  return lines
}

function hasEntry({ ino, mode }: DecodedInode, parent: WalkedFile, file: WalkedFile): boolean {
  const name = file.path.slice(file.path.lastIndexOf('/') + 1)
  return (
    ino === `${parent.stat.ino}` &&
    (mode.dir?.entries ?? []).some((entry) => entry.ino === `${file.stat.ino}` && textOf(entry.name) === name)
  )
}

function isSame(file: WalkedFile, inode: DecodedInode, chunks: Chunks): boolean {
  const { stat } = file
  const [kind = ''] = Object.keys(inode.mode)
  const device = inode.mode.chr ?? inode.mode.blk
  const rdev = kind === 'chr' || kind === 'blk' ? `${device?.major ?? 0}:${device?.minor ?? 0}` : '0:0'
  return (
    TYPES[kind] === (stat.mode & S_IFMT) &&
    (inode.permissions & PERMISSIONS) === (stat.mode & PERMISSIONS) &&
    inode.uid === stat.uid &&
    inode.gid === stat.gid &&
    rdev === `${majorOf(stat.rdev)}:${minorOf(stat.rdev)}` &&
    (file.target === undefined || file.target === textOf(inode.additional?.symlinkTarget)) &&
    hasAttributes(file, inode) &&
    (!isRegular(stat.mode) || hasContent(file, inode.mode.file ?? [], chunks)) &&
    (!isDirectory(stat.mode) || stat.nlink >= 2)
  )
}

function hasAttributes({ xattrs }: WalkedFile, { additional }: DecodedInode): boolean {
  return Object.entries(xattrs).every(([name, hex]) => {
    // Of two attributes of one name the first counts.
    const found = additional?.xattrs?.find(({ key }) => textOf(key) === name)
    return found !== undefined && Buffer.from(found.val ?? []).toString('hex') === hex
  })
}

/** @returns true also where it cannot be told: a piece of a chunk that no decoder reads */
function hasContent(file: WalkedFile, pieces: readonly DecodedPiece[], chunks: Chunks): boolean {
  const size = pieces.reduce((sum, { len }) => sum + BigInt(len), 0n)
  if (size !== BigInt(file.stat.size)) return false
  const sum = createHash('sha256')
  for (const { blob, len } of pieces) {
    if (len === '0') continue
    const chunk = chunks.get(Buffer.from(blob?.digest ?? []).toString('hex'))
    if (chunk === undefined) return false
    const bytes = blob?.compressed === true ? chunk.plain : chunk.bytes
    // A raw chunk that is read as if it were compressed is refused.
    if (blob?.compressed === true && !chunk.compressed) return false
    const start = Number(blob?.offset ?? 0)
    const part = bytes.subarray(start, start + Number(len))
    if (part.length !== Number(len)) return false
    sum.update(part)
  }
  return sum.digest('hex') === file.sha256
}

function textOf(data: readonly number[] | undefined): string {
  return Buffer.from(data ?? []).toString('latin1')
}
