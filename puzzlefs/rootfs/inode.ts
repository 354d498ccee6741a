import {
  MAJOR_LIMIT,
  MINOR_LIMIT,
  PERMISSIONS,
  packDevice,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
  S_IFSOCK,
} from '../../src/base/index.ts'
import type { Message, StructList, StructView } from '../message/message.ts'

/** Fields of `Inode`: bytes of the data, numbers of pointers. */
const INODE = { ino: 0, tag: 8, permissions: 10, uid: 12, gid: 16, mode: 0, additional: 1 } as const
/** Fields of `Chr` and `Blk`, `Dir`, `InodeAdditional`. */
const DEVICE = { major: 0, minor: 8 } as const
const DIRECTORY = { lookBelow: 0, entries: 0 } as const
const ADDITIONAL = { xattrs: 0, symlinkTarget: 1 } as const

/** File types by the tags of `Inode.mode`; 0 is none, and 8 a deletion. */
const TYPES = [0, S_IFIFO, S_IFCHR, S_IFDIR, S_IFBLK, S_IFREG, S_IFLNK, S_IFSOCK]
const TAG = { chr: 2, dir: 3, blk: 4, file: 5 } as const
const WHITEOUT = 8

/** An inode as it is stored. */
export interface Inode {
  readonly ref: number
  /** Type and permissions. */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly rdev: number
  /** Entries of a directory, or chunks of a file; empty for all others. */
  readonly list: StructList
  /** A directory that is to be merged with others below it, which nobody has defined. */
  readonly looksBelow: boolean
  readonly additional: StructView
}

/** The number of an inode; one above 2^53 is no safe integer. */
export function numberOf(message: Message, inode: StructView): number {
  return message.u64(inode, INODE.ino)
}

/** Whether an inode marks a deleted one. */
export function isWhiteout(message: Message, inode: StructView): boolean {
  return message.u16(inode, INODE.tag) === WHITEOUT
}

/** Type of an inode, as in `st_mode`; 0 where it has none. */
export function typeOf(message: Message, inode: StructView): number {
  return TYPES[message.u16(inode, INODE.tag)] ?? 0
}

/** @throws DamageError for an inode without a type, and for a device that no kernel has */
export function decodeInode(message: Message, ref: number, view: StructView): Inode {
  const tag = message.u16(view, INODE.tag)
  const type = TYPES[tag] ?? 0
  if (type === 0) throw message.damage(view.at, `inode ${numberOf(message, view)} of unknown type ${tag}`)
  const isDirectory = tag === TAG.dir
  const content = isDirectory || tag === TAG.chr || tag === TAG.blk ? message.struct(view, INODE.mode) : view
  return {
    ref,
    mode: type | (message.u16(view, INODE.permissions) & PERMISSIONS),
    uid: message.u32(view, INODE.uid),
    gid: message.u32(view, INODE.gid),
    rdev: tag === TAG.chr || tag === TAG.blk ? deviceOf(message, view, content) : 0,
    list: isDirectory
      ? message.structs(content, DIRECTORY.entries)
      : message.structs(tag === TAG.file ? view : NO_POINTERS, INODE.mode),
    looksBelow: isDirectory && message.bit(content, DIRECTORY.lookBelow),
    additional: message.struct(view, INODE.additional),
  }
}

const NO_POINTERS: StructView = { segment: 0, at: 0, data: 0, pointers: 0 }

function deviceOf(message: Message, view: StructView, device: StructView): number {
  const major = message.u64(device, DEVICE.major)
  const minor = message.u64(device, DEVICE.minor)
  if (major < MAJOR_LIMIT && minor < MINOR_LIMIT) return packDevice(major, minor)
  throw message.damage(
    view.at,
    `inode ${numberOf(message, view)}: no device has the number ${major}:${minor}`,
  )
}

/** The attributes of an inode. @throws DamageError */
export function attributesOf(message: Message, { additional }: Inode): StructList {
  return message.structs(additional, ADDITIONAL.xattrs)
}

/** The target of a symbolic link. @throws DamageError */
export function targetOf(
  message: Message,
  { additional }: Inode,
): { readonly at: number; readonly length: number } {
  return message.data(additional, ADDITIONAL.symlinkTarget)
}
