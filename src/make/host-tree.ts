import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import type { Attribute, NewEntry } from '../../squashfs/write/index.ts'
import {
  errnoCodeOf,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Name,
  namesOfPath,
  type PathText,
  systemPath,
} from '../base/index.ts'
import { childPath } from '../contents/index.ts'
import { O_PATH, openAt, readlinkAt, reopenDirectory } from '../sys/files/at.ts'
import { seekExtent } from '../sys/files/descriptor.ts'
import { listNames } from '../sys/files/directory-entries.ts'
import { pread } from '../sys/files/file-io.ts'
import { OpenDirectories, type Place } from '../sys/files/open-directories.ts'
import { type HostStat, statAt, statFd } from '../sys/files/statx.ts'
import { getxattrFd, lgetxattr, listxattrFd, llistxattr } from '../sys/files/xattr.ts'
import { descriptorPath } from '../sys/plain/proc.ts'
import { openFilesLimit } from '../sys/process/limits.ts'
import { byPriority } from './selection/by-priority.ts'
import type { Exclusion } from './selection/exclusion.ts'
import type { Priorities } from './selection/priorities.ts'
import { type LeftOut, nothingLeftOut, STORABLE, type TreeItem } from './tree-item.ts'

const CHUNK = 1 << 20
/** A piece of a hole, which nobody changes. */
const ZEROS = Buffer.alloc(CHUNK)
const DIRECTORY = O_PATH | constants.O_DIRECTORY
/** Directories kept open on the way through a tree. */
const OPEN_DIRECTORIES = 64

interface Folder {
  readonly place: Place
  readonly path: Name
  /** Sorted, last first. */
  readonly names: Name[]
}

export interface HostTreeOptions {
  readonly exclude?: Exclusion
  /** Files of high priorities come first, those of low ones last; among equals the order is that of the walk. */
  readonly priorities?: Priorities
  /** The directory whose content is the tree, by a path from `root` in which no link is followed. */
  readonly subdir?: Name
  /** Takes attributes of all name spaces, ACLs too: for formats that have no name spaces of their own. */
  readonly everyAttribute?: boolean
}

/**
 * All names of a directory of this machine, each directory before what it holds, sorted by bytes, so that equal trees
 * come in equal order. The directory must not change meanwhile. A directory is held by its descriptor: nobody who
 * renames things leads the walk elsewhere.
 * @param root followed if it is a symbolic link
 * @throws FsError ENOTDIR, ENOENT, EACCES, EIO
 */
export function* hostTree(
  root: PathText,
  leftOut: LeftOut,
  { exclude, priorities, subdir = '', everyAttribute = false }: HostTreeOptions = {},
): Generator<TreeItem> {
  const fd = openRoot(root, subdir)
  const walk = new Walk(leftOut, exclude, everyAttribute ? EVERY : STORABLE)
  try {
    if (priorities === undefined) yield* walk.items(fd)
    else {
      const tree = {
        files: () => walk.names(fd),
        items: (isPassedOver: (path: Name) => boolean) => walk.items(fd, isPassedOver),
        itemsOf: ({ path }: Found) => walk.itemBelow(fd, path),
      }
      yield* byPriority(tree, priorities)
    }
  } finally {
    closeSync(fd)
  }
}

/**
 * Some files of a directory with their content, in the order of their paths. What is no regular file any more, and what is
 * gone, is left out.
 * @throws FsError as `hostTree`
 */
export function* hostFiles(
  root: PathText,
  paths: Iterable<Name>,
): Generator<{ readonly path: Name; readonly entry: NewEntry }> {
  const fd = openRoot(root, '')
  const walk = new Walk(nothingLeftOut(), undefined)
  try {
    for (const path of paths) {
      for (const item of walk.itemBelow(fd, path))
        if ('entry' in item && isRegular(item.entry.mode)) yield item
    }
  } finally {
    closeSync(fd)
  }
}

function openRoot(root: PathText, subdir: Name): number {
  const fd = openPath(root)
  if (fstatSync(fd).isDirectory()) return openBelow(fd, namesOfPath(subdir, 'subdir'))
  closeSync(fd)
  throw new FsError('ENOTDIR', `${root} is no directory`)
}

function openPath(path: PathText): number {
  try {
    return openSync(systemPath(path), O_PATH)
  } catch (error) {
    const code = errnoCodeOf(error)
    const why = code === 'ENOENT' ? 'does not exist' : `cannot be opened: ${code}`
    throw new FsError(code, `${path} ${why}`, { cause: error })
  }
}

/** @param dir is closed */
function openBelow(dir: number, names: readonly Name[]): number {
  let fd = dir
  for (const name of names) {
    const parent = fd
    try {
      fd = openAt(parent, name, DIRECTORY)
    } finally {
      closeSync(parent)
    }
  }
  return fd
}

/** A name while its directory is open. */
interface Found {
  readonly dir: number
  readonly name: Name
  readonly path: Name
  readonly stat: HostStat
}

class Walk {
  readonly #leftOut: LeftOut
  readonly #exclude: Exclusion | undefined
  readonly #storable: RegExp
  /** First names of files with several, by device and inode. */
  readonly #first = new Map<string, Name>()

  /** @param storable names of attributes that are taken; others are counted as left out */
  constructor(leftOut: LeftOut, exclude: Exclusion | undefined, storable = STORABLE) {
    this.#leftOut = leftOut
    this.#exclude = exclude
    this.#storable = storable
  }

  *items(root: number, isPassedOver: (path: Name) => boolean = () => false): Generator<TreeItem> {
    const { mode, uid, gid, mtime, rdev } = statFd(root)
    yield { path: '', entry: { mode, uid, gid, mtime, rdev, xattrs: this.#attributesOfFd(root) } }
    for (const found of this.names(root)) if (!isPassedOver(found.path)) yield this.#item(found)
  }

  /** One name of the tree. */
  *itemBelow(root: number, path: Name): Generator<TreeItem> {
    const names = path.split('/')
    const name = names.pop() ?? ''
    const dir = openBelow(reopenDirectory(root, 'unnoticed'), names)
    try {
      const stat = statAt(dir, name)
      if (stat !== undefined) yield this.#item({ dir, name, path, stat })
    } finally {
      closeSync(dir)
    }
  }

  /** All names below the root, each while its directory is open. */
  *names(root: number): Generator<Found> {
    const open = new OpenDirectories(Math.min(OPEN_DIRECTORIES, openFilesLimit() >>> 2))
    const enter = (fd: number, path: Name, place: Omit<Place, 'stat'>): Folder => {
      const found: Place = { ...place, stat: statFd(fd) }
      open.add(found, fd)
      return { path, place: found, names: sortedNames(fd) }
    }
    try {
      const folders = [enter(reopenDirectory(root, 'unnoticed'), '', { name: '' })]
      for (let folder = folders.at(-1); folder !== undefined; folder = folders.at(-1)) {
        const { place: parent } = folder
        const name = folder.names.pop()
        if (name === undefined) {
          folders.pop()
          open.close(parent)
          continue
        }
        const path = childPath(folder.path, name)
        if (this.#exclude?.excludes(path) === true) continue
        const dir = open.fd(parent)
        const stat = statAt(dir, name)
        // Gone since it was listed.
        if (stat === undefined) continue
        yield { dir, name, path, stat }
        if (isDirectory(stat.mode)) folders.push(enter(openAt(dir, name, DIRECTORY), path, { parent, name }))
      }
    } finally {
      open.closeAll()
    }
  }

  #item({ dir, name, path, stat }: Found): TreeItem {
    if (stat.nlink > 1 && !isDirectory(stat.mode)) {
      const key = `${stat.dev}:${stat.inode}`
      const link = this.#first.get(key)
      if (link !== undefined) return { path, link }
      this.#first.set(key, path)
    }
    const { mode, uid, gid, mtime, rdev, size } = stat
    const xattrs = this.#attributesAt(dir, name)
    if (isSymlink(mode)) {
      return { path, entry: { mode, uid, gid, mtime, rdev, xattrs, target: readlinkAt(dir, name) } }
    }
    if (!isRegular(mode)) return { path, entry: { mode, uid, gid, mtime, rdev, xattrs } }
    const content = contentOf(dir, name, path, stat)
    // Copies of objects with more fields cost more than all else here.
    return { path, entry: { mode, uid, gid, mtime, rdev, xattrs, size, content } }
  }

  #attributesAt(dir: number, name: Name): Attribute[] {
    const path = `${descriptorPath(dir)}/${name}`
    return this.#storableOf(llistxattr(path), (one) => lgetxattr(path, one))
  }

  #attributesOfFd(fd: number): Attribute[] {
    return this.#storableOf(listxattrFd(fd), (one) => getxattrFd(fd, one))
  }

  #storableOf(names: readonly Name[], get: (name: Name) => Uint8Array | undefined): Attribute[] {
    return names.flatMap((name): Attribute[] => {
      if (!this.#storable.test(name)) {
        this.#leftOut.attributes += 1
        return []
      }
      const value = get(name)
      return value === undefined ? [] : [[name, value]]
    })
  }
}

/** For formats that store attributes by their full names. */
const EVERY = /^/

function sortedNames(fd: number): Name[] {
  return listNames(fd, 'unnoticed').sort((a, b) => (a < b ? 1 : a > b ? -1 : 0))
}

/** Opened when its bytes are wanted. Holes are not read. One byte more than there should be is asked for, to notice a file that grew. */
function* contentOf(dir: number, name: Name, path: Name, expected: HostStat): Generator<Uint8Array> {
  if (expected.size === 0) return
  const fd = openToRead(dir, name, path)
  try {
    const { dev, inode } = statFd(fd)
    if (dev !== expected.dev || inode !== expected.inode) {
      throw new FsError('EIO', `${JSON.stringify(path)} was replaced while it was read`)
    }
    const hasHoles = expected.blocks * 512 < expected.size
    // Where the next data begin, as far as that was asked.
    let data = 0
    for (let offset = 0; offset <= expected.size; ) {
      if (hasHoles && data <= offset) {
        data = Math.min(seekExtent(fd, offset, 'data') ?? expected.size, expected.size)
      }
      if (data - offset >= CHUNK) {
        yield ZEROS
        offset += CHUNK
        continue
      }
      // Small ones share memory: each piece of its own is work for the collector of garbage.
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK, expected.size + 1 - offset))
      const length = pread(fd, offset, chunk)
      if (length > 0) yield chunk.subarray(0, length)
      // A regular file gives less than asked for only at its end.
      if (length < chunk.length) return
      offset += length
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
