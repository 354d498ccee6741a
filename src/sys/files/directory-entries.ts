import { closeSync } from 'node:fs'
import type { Name } from '../../base/index.ts'
import { systemError } from '../ffi/ffi.ts'
import { Scratch } from '../ffi/scratch.ts'
import { systemCall } from '../ffi/system-call.ts'
import { reopenDirectory, type Trace } from './at.ts'

export interface HostEntry {
  readonly name: Name
  /** Inode number as the directory has it: on most file systems that of stat(2). 0 where a `number` cannot hold it. */
  readonly ino: number
  /** DT_*; DT_UNKNOWN (0) where the file system does not give the type. */
  readonly type: number
}

/** Offsets in struct linux_dirent64 (getdents(2)): ino 8 bytes, position 8, record length 2, type 1, the name. */
const AT_LENGTH = 16
const AT_TYPE = 18
const AT_NAME = 19

const scratch = new Scratch(65_536)
const buffer = scratch.bytes

/**
 * All entries of a directory but `.` and `..`, in the order of the file system.
 * @param dir may be O_PATH: the directory is opened again, so that the position of `dir` does not matter
 * @param trace whether its access time may change
 * @throws FsError EACCES, ENOTDIR; ENOENT where the directory was removed
 */
export function listEntries(dir: number, trace: Trace = 'noticed'): HostEntry[] {
  const fd = reopenDirectory(dir, trace)
  try {
    const entries: HostEntry[] = []
    for (;;) {
      const length = systemCall('getdents64', fd, scratch.address, buffer.length)
      if (length < 0) throw systemError(`list directory fd ${dir}`)
      if (length === 0) return entries
      for (let at = 0; at < length; at += buffer.readUInt16LE(at + AT_LENGTH)) {
        const name = buffer.toString('latin1', at + AT_NAME, buffer.indexOf(0, at + AT_NAME))
        if (name !== '.' && name !== '..') {
          const ino = buffer.readUInt32LE(at) + buffer.readUInt32LE(at + 4) * 2 ** 32
          entries.push({ name, ino: Number.isSafeInteger(ino) ? ino : 0, type: buffer[at + AT_TYPE] ?? 0 })
        }
      }
    }
  } finally {
    closeSync(fd)
  }
}

/** As `listEntries`, but only the names. */
export function listNames(dir: number, trace?: Trace): Name[] {
  return listEntries(dir, trace).map((entry) => entry.name)
}
