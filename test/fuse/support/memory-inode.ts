import { closeSync, openSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import {
  isDirectory,
  isRegular,
  type Name,
  type NewTime,
  type NodeId,
  type Stat,
} from '../../../src/base/index.ts'

import { truncateFd } from '../../../src/sys/files/file-io.ts'

const ACCESS_ACL = 'system.posix_acl_access'
const CAPABILITY = 'security.capability'

interface Time {
  readonly seconds: number
  readonly nanoseconds: number
}

/** One inode of `MemoryTree`. Names and attributes are in memory, data in a host file without a name. */
export class MemoryInode {
  readonly nodeId: NodeId
  readonly children: Map<Name, MemoryInode> | undefined
  readonly fd: number | undefined
  readonly target: Uint8Array
  readonly rdev: number
  readonly xattrs = new Map<Name, Uint8Array>()
  mode: number
  uid: number
  gid: number
  nlink: number
  /** FS_*_FL */
  flags = 0
  size = 0
  /** What the kernel knows of it, as the protocol counts. */
  nlookup = 0
  parent: MemoryInode | undefined
  atime = now()
  mtime = this.atime
  ctime = this.atime

  /** @param folder where the data lie */
  constructor(
    folder: string,
    nodeId: NodeId,
    what: { mode: number; uid: number; gid: number; rdev?: number; target?: Uint8Array; nlink?: number },
  ) {
    this.nodeId = nodeId
    this.mode = what.mode
    this.uid = what.uid
    this.gid = what.gid
    this.rdev = what.rdev ?? 0
    this.target = what.target ?? new Uint8Array()
    this.nlink = what.nlink ?? (isDirectory(what.mode) ? 2 : 1)
    this.children = isDirectory(what.mode) ? new Map() : undefined
    if (isRegular(what.mode)) {
      const path = join(folder, `data-${nodeId}`)
      this.fd = openSync(path, 'wx+')
      unlinkSync(path)
    }
  }

  close(): void {
    if (this.fd !== undefined) closeSync(this.fd)
  }

  stat(): Stat {
    return {
      ino: this.nodeId + 1000,
      mode: this.mode,
      nlink: this.nlink,
      uid: this.uid,
      gid: this.gid,
      rdev: this.rdev,
      size: this.children === undefined ? this.size || this.target.length : this.children.size,
      blocks: Math.ceil(this.size / 512),
      blksize: 4096,
      atime: this.atime.seconds,
      mtime: this.mtime.seconds,
      ctime: this.ctime.seconds,
      atimeNsec: this.atime.nanoseconds,
      mtimeNsec: this.mtime.nanoseconds,
      ctimeNsec: this.ctime.nanoseconds,
    }
  }

  touch(...which: ('atime' | 'mtime' | 'ctime')[]): void {
    const time = now()
    for (const one of which) this[one] = time
  }

  truncate(size: number): void {
    if (this.fd !== undefined) truncateFd(this.fd, size)
    this.size = size
  }

  /** Permission bits, and what the access ACL says of owner, mask and others. */
  chmod(mode: number): void {
    this.mode = (this.mode & ~0o7777) | mode
    const acl = this.xattrs.get(ACCESS_ACL)
    if (acl === undefined) return
    const copy = Buffer.from(acl)
    for (const [at, shift] of aclModes(copy)) copy.writeUInt16LE((mode >>> shift) & 7, at + 2)
    this.xattrs.set(ACCESS_ACL, copy)
  }

  setxattr(name: Name, value: Uint8Array): void {
    const copy = Buffer.from(value)
    this.xattrs.set(name, copy)
    if (name !== ACCESS_ACL) return
    let mode = this.mode
    for (const [at, shift] of aclModes(copy)) {
      mode = (mode & ~(7 << shift)) | ((copy.readUInt16LE(at + 2) & 7) << shift)
    }
    this.mode = mode
  }

  killPrivileges(): void {
    if (this.children !== undefined) return
    this.mode &= (this.mode & 0o010) !== 0 ? ~0o6000 : ~0o4000
    this.xattrs.delete(CAPABILITY)
  }
}

export function timeOf(time: NewTime): Time {
  return time === 'now' ? now() : time
}

/** Places of the entries that are permission bits of the mode, and where (include/uapi/linux/posix_acl.h). */
function aclModes(acl: Buffer): [at: number, shift: number][] {
  const places: [number, number][] = []
  const tags = new Map<number, number>()
  for (let at = 4; at + 8 <= acl.length; at += 8) tags.set(acl.readUInt16LE(at), at)
  const [USER_OBJ, GROUP_OBJ, MASK, OTHER] = [1, 4, 16, 32]
  const group = tags.get(MASK) ?? tags.get(GROUP_OBJ)
  for (const [at, shift] of [
    [tags.get(USER_OBJ), 6],
    [group, 3],
    [tags.get(OTHER), 0],
  ] as const) {
    if (at !== undefined) places.push([at, shift])
  }
  return places
}

/** The clock with nanoseconds, so that every change shows. */
const START = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint()
function now(): Time {
  const time = START + process.hrtime.bigint()
  return { seconds: Number(time / 1_000_000_000n), nanoseconds: Number(time % 1_000_000_000n) }
}
