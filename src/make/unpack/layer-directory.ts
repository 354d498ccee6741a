import { closeSync, constants } from 'node:fs'
import type { Attribute, NewEntry } from '../../../squashfs/write/index.ts'
import {
  FsError,
  isDirectory,
  isErrno,
  isRegular,
  NAME_MAX,
  type Name,
  type PendingLink,
  PendingLinks,
  S_IFCHR,
  S_IFDIR,
  S_IFMT,
} from '../../base/index.ts'
import { giveAttributes, type Owners } from '../../contents/index.ts'
import { linkFd, mknodAt, O_PATH, openAt, renameAt, unlinkAt } from '../../sys/files/at.ts'
import { statFd } from '../../sys/files/statx.ts'
import { otherName } from '../../sys/files/unfinished-file.ts'
import { setxattrFd } from '../../sys/files/xattr.ts'
import { isHostRoot } from '../../sys/plain/namespaces.ts'
import type { TreeEntry, TreeItem } from '../tree-item.ts'
import { CLOSED, Descent } from './descent.ts'
import { modeAt, targetAt } from './look.ts'
import { attributesOf, makeEntry } from './make-entry.ts'
import { clear, makeDirectory, type Place, withPath } from './place.ts'

const { O_CREAT, O_EXCL, O_WRONLY } = constants
const MARK_PREFIX = '.wh.'
const YES = Uint8Array.of(0x79)

function isOpaqueMark([name, value]: Attribute): boolean {
  return /^(user|trusted)\.overlay\.opaque$/.test(name) && value.length === 1 && value[0] === YES[0]
}

/** Directories that no entry describes, and that no layer below has. */
export const PLAIN_DIRECTORY: NewEntry = { mode: S_IFDIR | 0o755, uid: 0, gid: 0, mtime: 0 }

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

/** Nothing yet. */
export function noCounts(): UnpackCounts {
  return { files: 0, skippedDevices: 0, leftAttributes: 0, whiteouts: 0, namedWhiteouts: 0 }
}

/**
 * The directory of one layer, as an overlay reads it: whiteouts are devices 0:0, opaque directories have an attribute.
 * Directories get their attributes in the end, because making something in one changes its times.
 */
export class LayerDirectory {
  readonly counts = noCounts()
  readonly #tree: Descent
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
    this.#tree = new Descent(root)
    this.#owners = owners
    this.#implied.add('')
  }

  /** @throws FsError ENOTDIR, EINVAL for the path; ENOSPC, EPERM, EIO. The message names the item */
  async add(item: TreeItem): Promise<void> {
    try {
      await this.#add(item)
    } catch (error) {
      throw withPath(error, item.path)
    }
  }

  async #add(item: TreeItem): Promise<void> {
    const { path } = item
    if ('attribute' in item) {
      this.#marks.add(path)
      this.#makeDirectory(path)
      if (!this.#directories.has(path)) this.#implied.add(path)
    } else if ('link' in item) {
      this.#links.delete(path)
      if (!this.#link(path, item.link)) this.#links.add({ path, target: item.link })
    } else if (isDirectory(item.entry.mode)) {
      this.#links.delete(path)
      this.#makeDirectory(path)
      this.#directories.set(path, item.entry)
      this.#implied.delete(path)
    } else if ((item.entry.mode & S_IFMT) === S_IFCHR && (item.entry.rdev ?? 0) === 0) {
      this.#makeWhiteout(this.#placeOf(path))
    } else {
      this.#links.delete(path)
      await this.#makeFile(path, item.entry)
    }
  }

  /** Type of what the layer has at a path so far. */
  modeAt(path: Name): number | undefined {
    return modeAt(this.#tree, path, this.#owners)
  }

  /** Target of the symbolic link that has a path so far. */
  targetAt(path: Name): Uint8Array | undefined {
    return targetAt(this.#tree, path)
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

  close(): void {
    this.#tree.close()
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
    const fd = this.#tree.directory(path)
    // Something else may have taken its place since.
    if (entry === undefined || fd === undefined) return
    const isOpaque = this.#marks.has(path) || (entry.xattrs ?? []).some(isOpaqueMark)
    const xattrs = (entry.xattrs ?? []).filter((attribute) => !isOpaqueMark(attribute))
    this.counts.leftAttributes += giveAttributes(fd, attributesOf({ ...entry, xattrs }), this.#owners)
    // Marks are not attributes of the file: they have their own names however owners are kept.
    if (isOpaque) for (const name of this.#markNames) setxattrFd(fd, name, YES, 'either')
  }

  #placeOf(path: Name): Place {
    return this.#tree.placeToMake(path, (made) => this.#implied.add(made))
  }

  #makeDirectory(path: Name): void {
    if (path !== '') makeDirectory(this.#placeOf(path), CLOSED)
  }

  async #makeFile(path: Name, entry: TreeEntry): Promise<void> {
    const place = this.#placeOf(path)
    this.#replace(path, place)
    const left = await makeEntry(place, entry, this.#owners)
    if (left === undefined) this.counts.skippedDevices += 1
    else this.counts.leftAttributes += left
    if (isRegular(entry.mode)) this.counts.files += 1
  }

  #replace(path: Name, place: Place): void {
    const lists = [this.#directories, this.#marks, this.#implied]
    const forget = (name: Name): void => {
      for (const list of lists) list.delete(name)
    }
    clear(place, (below) => forget(`${path}/${below}`))
    forget(path)
  }

  /** @returns false where the file is not there */
  #link(path: Name, target: Name): boolean {
    const file = openNamed(this.#tree, target)
    if (file === undefined) return false
    try {
      if (isDirectory(statFd(file).mode)) {
        throw new FsError('EPERM', `${JSON.stringify(path)}: hard link to a directory`)
      }
      if (path === target) return true
      const place = this.#placeOf(path)
      linkInto(file, place, () => this.#replace(path, place))
      return true
    } finally {
      closeSync(file)
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

/** @returns an O_PATH descriptor of what has a path, the caller's to close; undefined where there is nothing */
export function openNamed(tree: Descent, path: Name): number | undefined {
  const place = path === '' ? undefined : tree.placeOf(path)
  try {
    return place && openAt(place.folder, place.name, O_PATH)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
}

/**
 * Gives a file one more name.
 * @param clear makes room for it, and may take away the directory in which the file is
 */
export function linkInto(file: number, to: Place, clear: () => void): void {
  const other = otherName(to.name)
  linkFd(file, to.folder, other)
  try {
    clear()
    renameAt(to.folder, other, to.folder, to.name, 0)
  } catch (error) {
    unlinkAt(to.folder, other)
    throw error
  }
}
