import { fstatSync, readdirSync, readFileSync } from 'node:fs'
import { ERRNO } from '../../base/index.ts'
import { lastErrno, systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { Scratch } from '../ffi/scratch.ts'
import { procPath } from '../plain/proc.ts'

const fcntl = libcFunction('int fcntl(int fd, int command, uintptr_t argument)')

// include/uapi/asm-generic/fcntl.h
const F_OFD_GETLK = 36
const F_OFD_SETLK = 37
const F_RDLCK = 0
const F_WRLCK = 1
const F_UNLCK = 2

const { EACCES, EAGAIN, EINTR } = ERRNO

/** How many open files of others are looked at for the holder of a lock. */
const MOST_LOOKS = 50_000

/** `struct flock` of machines of 64 bits: type and whence, 16 bits each; start and length at 8 and 16; pid at 24. */
const flock = new Scratch(32)

/** Bytes of a file. The length is at least 1: 0 would be all to the end, however long the file grows. */
export interface ByteRange {
  readonly start: number
  readonly length: number
}

/**
 * Locks a range of an open file (F_OFD_SETLK), until the last descriptor of that open file is closed. It excludes locks of
 * fcntl(2) of other processes, and those of other open files of this process. Closing another descriptor of the file does
 * not release it.
 * @param kind `write` needs a descriptor that can write
 * @returns false where somebody else has the range
 * @throws FsError EBADF, ENOLCK on file systems without such locks
 */
export function tryRangeLock(fd: number, range: ByteRange, kind: 'read' | 'write'): boolean {
  for (;;) {
    fill(range, kind)
    if (Number(fcntl(fd, F_OFD_SETLK, flock.address)) === 0) return true
    const number = lastErrno()
    if (number === EAGAIN || number === EACCES) return false
    if (number !== EINTR) throw systemError(`lock ${range.length} bytes of fd ${fd} at ${range.start}`)
  }
}

/**
 * Process id of somebody whose lock keeps `tryRangeLock` from a range; undefined where that cannot be found. The kernel
 * tells it of locks that belong to processes; those that belong to open files are looked for in /proc.
 */
export function rangeLockHolder(fd: number, range: ByteRange, kind: 'read' | 'write'): number | undefined {
  fill(range, kind)
  const { bytes } = flock
  if (Number(fcntl(fd, F_OFD_GETLK, flock.address)) !== 0 || bytes.readInt16LE(0) === F_UNLCK)
    return undefined
  const pid = bytes.readInt32LE(24)
  return pid > 0 ? pid : openFileHolder(fd)
}

function fill({ start, length }: ByteRange, kind: 'read' | 'write'): void {
  const { bytes } = flock
  bytes.fill(0)
  bytes.writeInt16LE(kind === 'read' ? F_RDLCK : F_WRLCK, 0)
  bytes.writeBigInt64LE(BigInt(start), 8)
  bytes.writeBigInt64LE(BigInt(length), 16)
}

/** A process that has a file open with such a lock on it (proc_pid_fdinfo(5)). Those of other users cannot be seen. */
function openFileHolder(fd: number): number | undefined {
  const inode = BigInt.asUintN(64, fstatSync(fd, { bigint: true }).ino)
  const lock = new RegExp(`^lock:\\s+\\d+: OFDLCK .*:${inode} `, 'm')
  let looks = 0
  for (const pid of listed('')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue
    for (const one of listed(`${pid}/fdinfo`)) {
      if (++looks > MOST_LOOKS) return undefined
      if (lock.test(textAt(`${pid}/fdinfo/${one}`))) return Number(pid)
    }
  }
  return undefined
}

/** Processes end while they are looked at. */
function listed(path: string): readonly string[] {
  try {
    return readdirSync(procPath(path))
  } catch {
    return []
  }
}

function textAt(path: string): string {
  try {
    return readFileSync(procPath(path), 'latin1')
  } catch {
    return ''
  }
}
