import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import type { Attribute, NewEntry } from '../../squashfs/write/index.ts'
import {
  errnoCodeOf,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Name,
  type PathText,
  systemPath,
} from '../base/index.ts'
import { O_PATH, openAt, readlinkAt } from '../sys/files/at.ts'
import { listNames } from '../sys/files/directory-entries.ts'
import { pread } from '../sys/files/file-io.ts'
import { type HostStat, statAt, statFd } from '../sys/files/statx.ts'
import { getxattrFd, lgetxattr, listxattrFd, llistxattr } from '../sys/files/xattr.ts'
import { descriptorPath } from '../sys/plain/proc.ts'
import { type LeftOut, STORABLE, type TreeItem } from './tree-item.ts'

const CHUNK = 1 << 20
const DIRECTORY = O_PATH | constants.O_DIRECTORY
interface Folder {
  readonly fd: number
  readonly path: Name
  /** Sorted, last first. */
  names: Name[]
}

/**
 * All names of a directory of this machine, each directory before what it holds, sorted by bytes, so that equal trees
 * come in equal order. The directory must not change meanwhile. A directory is held by its descriptor: nobody who
 * renames things leads the walk elsewhere.
 * @param root followed if it is a symbolic link
 * @throws FsError ENOTDIR, ENOENT, EACCES, EIO
 */
export function* hostTree(root: PathText, leftOut: LeftOut): Generator<TreeItem> {
  const folders: Folder[] = [{ fd: openRoot(root), path: '', names: [] }]
  /** First names of files with several, by device and inode. */
  const first = new Map<string, Name>()
  try {
    for (const folder of folders) {
      yield { path: '', entry: describe(statFd(folder.fd), attributesOfFd(folder.fd, leftOut)) }
      folder.names = sortedNames(folder.fd)
    }
    for (let folder = folders.at(-1); folder !== undefined; folder = folders.at(-1)) {
      const name = folder.names.pop()
      if (name === undefined) {
        folders.pop()
        closeSync(folder.fd)
        continue
      }
      const path = folder.path === '' ? name : `${folder.path}/${name}`
      const item = itemAt(folder.fd, name, path, first, leftOut)
      if (item === undefined) continue
      yield item
      if (!('entry' in item) || !isDirectory(item.entry.mode)) continue
      const fd = openAt(folder.fd, name, DIRECTORY)
      folders.push({ fd, path, names: sortedNames(fd) })
    }
  } finally {
    for (const { fd } of folders) closeSync(fd)
  }
}

function openRoot(root: PathText): number {
  const fd = openSync(systemPath(root), O_PATH)
  if (fstatSync(fd).isDirectory()) return fd
  closeSync(fd)
  throw new FsError('ENOTDIR', `${root} is no directory`)
}

function sortedNames(fd: number): Name[] {
  return listNames(fd, 'unnoticed').sort((a, b) => (a < b ? 1 : a > b ? -1 : 0))
}

/** @returns undefined where the name has gone since it was listed */
function itemAt(
  dir: number,
  name: Name,
  path: Name,
  first: Map<string, Name>,
  leftOut: LeftOut,
): TreeItem | undefined {
  const stat = statAt(dir, name)
  if (stat === undefined) return undefined
  if (stat.nlink > 1 && !isDirectory(stat.mode)) {
    const key = `${stat.dev}:${stat.inode}`
    const link = first.get(key)
    if (link !== undefined) return { path, link }
    first.set(key, path)
  }
  const entry = describe(stat, attributesAt(dir, name, leftOut))
  if (isSymlink(stat.mode)) return { path, entry: { ...entry, target: readlinkAt(dir, name) } }
  if (!isRegular(stat.mode)) return { path, entry }
  return { path, entry: { ...entry, size: stat.size, content: contentOf(dir, name, path, stat) } }
}

function describe({ mode, uid, gid, mtime, rdev }: HostStat, xattrs: readonly Attribute[]): NewEntry {
  return { mode, uid, gid, mtime, rdev, xattrs }
}

function attributesAt(dir: number, name: Name, leftOut: LeftOut): Attribute[] {
  const path = `${descriptorPath(dir)}/${name}`
  return storable(llistxattr(path), (one) => lgetxattr(path, one), leftOut)
}

function attributesOfFd(fd: number, leftOut: LeftOut): Attribute[] {
  return storable(listxattrFd(fd), (one) => getxattrFd(fd, one), leftOut)
}

function storable(
  names: readonly Name[],
  get: (name: Name) => Uint8Array | undefined,
  leftOut: LeftOut,
): Attribute[] {
  return names.flatMap((name): Attribute[] => {
    if (!STORABLE.test(name)) {
      leftOut.attributes += 1
      return []
    }
    const value = get(name)
    return value === undefined ? [] : [[name, value]]
  })
}

/** Opened when its bytes are wanted. */
function* contentOf(dir: number, name: Name, path: Name, expected: HostStat): Generator<Uint8Array> {
  if (expected.size === 0) return
  const fd = openToRead(dir, name, path)
  try {
    const { dev, inode } = statFd(fd)
    if (dev !== expected.dev || inode !== expected.inode) {
      throw new FsError('EIO', `${JSON.stringify(path)} was replaced while it was read`)
    }
    for (let offset = 0; ; ) {
      const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK, Math.max(expected.size - offset, 1)))
      const length = pread(fd, offset, chunk)
      if (length === 0) return
      offset += length
      yield chunk.subarray(0, length)
    }
  } finally {
    closeSync(fd)
  }
}

function openToRead(dir: number, name: Name, path: Name): number {
  try {
    return openAt(dir, name, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    const code = errnoCodeOf(error)
    throw new FsError(code, `${JSON.stringify(path)} cannot be read: ${code}`, { cause: error })
  }
}
