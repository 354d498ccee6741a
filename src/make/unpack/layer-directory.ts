import { closeSync, constants, readFileSync } from 'node:fs'
import { decodeOwner, USER_RECORD } from '../../../overlay/records.ts'
import type { Attribute, NewEntry } from '../../../squashfs/write/index.ts'
import {
  FsError,
  isDirectory,
  isErrno,
  isRegular,
  isSymlink,
  NAME_MAX,
  type Name,
  type PendingLink,
  PendingLinks,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
  type Stat,
} from '../../base/index.ts'
import {
  beginFile,
  type FileAttributes,
  finishFile,
  giveAttributes,
  makeSpecial,
  type Owners,
} from '../../contents/index.ts'
import { linkAt, mknodAt, O_PATH, openAt, readlinkAt, reopenFd } from '../../sys/files/at.ts'
import { pwrite } from '../../sys/files/file-io.ts'
import { statAt } from '../../sys/files/statx.ts'
import { getxattrFd, setxattrFd } from '../../sys/files/xattr.ts'
import { isHostRoot } from '../../sys/plain/namespaces.ts'
import type { TreeItem } from '../tree-item.ts'
import { clear, makeDirectory, namesIn, type Place, placeOf } from './place.ts'

const { O_CREAT, O_EXCL, O_WRONLY } = constants
const DIRECTORY = O_PATH | constants.O_DIRECTORY
const MARK_PREFIX = '.wh.'
const YES = Uint8Array.of(0x79)

function isOpaqueMark([name, value]: Attribute): boolean {
  return /^(user|trusted)\.overlay\.opaque$/.test(name) && value.length === 1 && value[0] === YES[0]
}

/** Directories that no entry describes, and that no layer below has. */
const PLAIN_DIRECTORY: NewEntry = { mode: S_IFDIR | 0o755, uid: 0, gid: 0, mtime: 0 }

/** What was made of a layer. */
export interface UnpackCounts {
  files: number
  /** Devices that this user may not make. */
  skippedDevices: number
  /** Extended attributes that the files cannot have. */
  leftAttributes: number
  whiteouts: number
  /** Whiteouts that are names `.wh.`, because no devices 0:0 can be made here: overlayfs does not read those. */
  namedWhiteouts: number
}

/**
 * The directory of one layer, as an overlay reads it: whiteouts are devices 0:0, opaque directories have an attribute.
 * Directories get their attributes in the end, because making something in one changes its times.
 */
export class LayerDirectory {
  readonly counts: UnpackCounts = {
    ...{ files: 0, skippedDevices: 0, leftAttributes: 0, whiteouts: 0, namedWhiteouts: 0 },
  }
  readonly #root: number
  readonly #owners: Owners
  readonly #directories = new Map<Name, NewEntry>()
  readonly #marks = new Set<Name>()
  /** overlayfs of root reads the second without the option `userxattr`. */
  readonly #markNames = ['user.overlay.opaque', ...(isHostRoot() ? ['trusted.overlay.opaque'] : [])]
  /** Made because something lies in them. */
  readonly #implied = new Set<Name>()
  /** Hard links whose file has not come yet. */
  readonly #links = new PendingLinks()

  /** @param root descriptor of an empty directory */
  constructor(root: number, owners: Owners) {
    this.#root = root
    this.#owners = owners
    this.#implied.add('')
  }

  /** @throws FsError ENOTDIR, EINVAL for the path; ENOSPC, EPERM, EIO */
  async add(item: TreeItem): Promise<void> {
    const { path } = item
    if ('attribute' in item) {
      this.#marks.add(path)
      if (path !== '') this.#at(path, makeDirectory)
      if (!this.#directories.has(path)) this.#implied.add(path)
    } else if ('link' in item) {
      this.#links.delete(path)
      if (!this.#link(path, item.link)) this.#links.add({ path, target: item.link })
    } else if (isDirectory(item.entry.mode)) {
      this.#links.delete(path)
      if (path !== '') this.#at(path, makeDirectory)
      this.#directories.set(path, item.entry)
      this.#implied.delete(path)
    } else if ((item.entry.mode & S_IFMT) === S_IFCHR && (item.entry.rdev ?? 0) === 0) {
      this.#at(path, (place) => this.#makeWhiteout(place))
    } else {
      this.#links.delete(path)
      await this.#makeFile(path, item.entry)
    }
  }

  /** Type of what the layer has at a path so far. */
  modeAt(path: Name): number | undefined {
    const names = namesIn(path)
    if (names.length === 0) return S_IFDIR
    const place = this.#find(names)
    if (place === undefined) return undefined
    try {
      const stat = statAt(place.folder, place.name)
      if (stat === undefined || this.#owners !== 'override' || !isRegular(stat.mode)) return stat?.mode
      const fd = openAt(place.folder, place.name, constants.O_RDONLY)
      try {
        const record = getxattrFd(fd, USER_RECORD)
        return record === undefined ? stat.mode : decodeOwner(record, stat.mode).mode
      } finally {
        closeSync(fd)
      }
    } finally {
      closeSync(place.folder)
    }
  }

  /** @returns undefined also where the path leads through what is no directory */
  #find(names: readonly Name[]): Place | undefined {
    try {
      return placeOf(this.#root, names)
    } catch (error) {
      if (isErrno(error, 'ENOTDIR')) return undefined
      throw error
    }
  }

  /** Target of the symbolic link that has a path so far. */
  targetAt(path: Name): Uint8Array | undefined {
    const names = namesIn(path)
    const place = names.length === 0 ? undefined : this.#find(names)
    if (place === undefined) return undefined
    try {
      const stat = statAt(place.folder, place.name)
      if (stat === undefined) return undefined
      if (isSymlink(stat.mode)) return readlinkAt(place.folder, place.name)
      const fd = openAt(place.folder, place.name, constants.O_RDONLY)
      try {
        // Where owners are written down, a link is a file, and its target the content.
        return getxattrFd(fd, USER_RECORD) === undefined ? undefined : readFileSync(fd)
      } finally {
        closeSync(fd)
      }
    } finally {
      closeSync(place.folder)
    }
  }

  /** Directories that no entry has described, each before those in it. */
  missingDirectories(): readonly Name[] {
    return [...this.#implied].sort()
  }

  /** Hard links whose file the layer has not. */
  missingLinks(): readonly PendingLink[] {
    this.#links.resolve((path, target) => this.#link(path, target))
    return this.#links.list()
  }

  /** Gives the directories their attributes. @throws FsError ENOENT for a hard link without its file */
  finish(): void {
    const [link] = this.missingLinks()
    if (link !== undefined) {
      const [path, target] = [link.path, link.target].map((name) => JSON.stringify(name))
      throw new FsError('ENOENT', `hard link ${path}: there is no ${target}, here or in a layer below`)
    }
    for (const path of this.#implied) this.#directories.set(path, PLAIN_DIRECTORY)
    // Those below first: a name that is made in a directory changes its time, and attributes do not.
    for (const path of [...this.#directories.keys()].sort().reverse()) this.#furnish(path)
  }

  #furnish(path: Name): void {
    const entry = this.#directories.get(path)
    const fd = this.#openDirectory(path)
    // Something else may have taken its place since.
    if (entry === undefined || fd === undefined) return
    try {
      const isOpaque = this.#marks.has(path) || (entry.xattrs ?? []).some(isOpaqueMark)
      const xattrs = (entry.xattrs ?? []).filter((attribute) => !isOpaqueMark(attribute))
      this.counts.leftAttributes += giveAttributes(fd, attributesOf({ ...entry, xattrs }), this.#owners)
      // Marks are not attributes of the file: they have their own names however owners are kept.
      if (isOpaque) for (const name of this.#markNames) setxattrFd(fd, name, YES, 'either')
    } finally {
      closeSync(fd)
    }
  }

  #openDirectory(path: Name): number | undefined {
    const names = namesIn(path)
    const place = names.length === 0 ? undefined : placeOf(this.#root, names)
    if (names.length > 0 && place === undefined) return undefined
    try {
      return place === undefined
        ? reopenFd(this.#root, DIRECTORY)
        : openAt(place.folder, place.name, DIRECTORY)
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return undefined
      throw error
    } finally {
      if (place !== undefined) closeSync(place.folder)
    }
  }

  #at<T>(path: Name, use: (place: Place) => T): T {
    const place = placeOf(this.#root, namesIn(path), (made) => this.#implied.add(made))
    if (place === undefined) throw new FsError('ENOENT', `${JSON.stringify(path)}: no directory for it`)
    try {
      return use(place)
    } finally {
      closeSync(place.folder)
    }
  }

  async #makeFile(path: Name, entry: NewEntry): Promise<void> {
    this.#at(path, (place) => this.#replace(path, place))
    const attributes = attributesOf(entry)
    const manner = { owners: this.#owners, replaces: true }
    if (!isRegular(entry.mode)) {
      const made = this.#at(path, ({ folder, name }) =>
        makeSpecial({ folder, name, attributes, ...(entry.target && { target: entry.target }) }, manner),
      )
      if (made === undefined) this.counts.skippedDevices += 1
      else this.counts.leftAttributes += made.left
      return
    }
    const place = placeOf(this.#root, namesIn(path))
    if (place === undefined) throw new FsError('ENOENT', `${JSON.stringify(path)}: its directory is gone`)
    try {
      const what = { ...place, attributes }
      const file = beginFile(what)
      try {
        const end = await writeData(file.fd, entry.content ?? [])
        this.counts.leftAttributes += finishFile(file, what, manner, end).left
      } finally {
        file.close()
      }
      this.counts.files += 1
    } finally {
      closeSync(place.folder)
    }
  }

  #replace(path: Name, place: Place): void {
    const before = clear(place)
    if (before === undefined || !isDirectory(before.mode)) return
    for (const list of [this.#directories, this.#marks, this.#implied]) {
      for (const name of list.keys()) if (name === path || name.startsWith(`${path}/`)) list.delete(name)
    }
  }

  /** @returns false where the file is not there */
  #link(path: Name, target: Name): boolean {
    const from = placeOf(this.#root, namesIn(target))
    if (from === undefined) return false
    try {
      const stat = statAt(from.folder, from.name)
      if (stat === undefined) return false
      if (isDirectory(stat.mode)) {
        throw new FsError('EPERM', `${JSON.stringify(path)}: hard link to a directory`)
      }
      if (path === target) return true
      this.#at(path, (place) => {
        this.#replace(path, place)
        linkAt(from.folder, from.name, place.folder, place.name)
      })
      return true
    } finally {
      closeSync(from.folder)
    }
  }

  #makeWhiteout(place: Place): void {
    clear(place)
    this.counts.whiteouts += 1
    try {
      mknodAt(place.folder, place.name, S_IFCHR, 0)
    } catch (error) {
      if (!isErrno(error, 'EPERM') || MARK_PREFIX.length + place.name.length > NAME_MAX) throw error
      closeSync(openAt(place.folder, MARK_PREFIX + place.name, O_CREAT | O_EXCL | O_WRONLY, 0o600))
      this.counts.namedWhiteouts += 1
    }
  }
}

/** Zeros become holes. @returns where the last data end */
async function writeData(
  fd: number,
  content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<number> {
  let [at, end] = [0, 0]
  for await (const piece of content) {
    if (!isZero(piece)) {
      for (let done = 0; done < piece.length; ) done += pwrite(fd, at + done, piece.subarray(done))
      end = at + piece.length
    }
    at += piece.length
  }
  return end
}

const ZEROS = Buffer.alloc(64 << 10)

function isZero(piece: Uint8Array): boolean {
  for (let at = 0; at < piece.length; at += ZEROS.length) {
    const part = piece.subarray(at, at + ZEROS.length)
    if (ZEROS.compare(part, 0, part.length, 0, part.length) !== 0) return false
  }
  return true
}

function attributesOf(entry: NewEntry): FileAttributes {
  const { mode, uid, gid, mtime, rdev = 0, size = 0, target, xattrs = [] } = entry
  const seconds = Math.floor(mtime)
  const nanoseconds = Math.round((mtime - seconds) * 1e9)
  const stat: Stat = {
    ...{ ino: 0, nlink: 1, blocks: 0, blksize: 4096 },
    ...{ mode, uid, gid, rdev },
    size: isSymlink(mode) ? (target?.length ?? 0) : size,
    ...{ atime: seconds, mtime: seconds, ctime: seconds },
    ...{ atimeNsec: nanoseconds, mtimeNsec: nanoseconds, ctimeNsec: nanoseconds },
  }
  return { stat, xattrs }
}
