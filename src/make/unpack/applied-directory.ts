import { closeSync } from 'node:fs'
import { USER_RECORD } from '../../../overlay/records.ts'
import { FsError, isDirectory, isErrno, isRegular, type Name, PendingLinks } from '../../base/index.ts'
import { giveAttributes, type Owners } from '../../contents/index.ts'
import { listNames } from '../../sys/files/directory-entries.ts'
import { setTimesFd } from '../../sys/files/fd-attributes.ts'
import { type HostStat, statAt, statFd } from '../../sys/files/statx.ts'
import { listxattrFd, removexattrFd } from '../../sys/files/xattr.ts'
import type { Mark } from '../tar-marks.ts'
import type { TreeEntry } from '../tree-item.ts'
import { CLOSED, Descent } from './descent.ts'
import { linkInto, openNamed, PLAIN_DIRECTORY } from './layer-directory.ts'
import { modeAt, placeAt, targetAt } from './look.ts'
import { attributesOf, makeEntry } from './make-entry.ts'
import { clear, makeDirectory, type Place, withPath } from './place.ts'

/** What was done to a directory. */
export interface ApplyCounts {
  files: number
  /** Names that whiteouts and opaque marks took away. */
  removed: number
  /** Devices that this user may not make. */
  skippedDevices: number
  /** Extended attributes that the files cannot have. */
  leftAttributes: number
}

type Times = Pick<HostStat, 'atime' | 'atimeNsec' | 'mtime' | 'mtimeNsec'>

/** One name of a layer: an entry with its attributes, or one more name of a file. */
export type AppliedItem = { readonly path: Name } & ({ readonly entry: TreeEntry } | { readonly link: Name })

/**
 * A directory over which a layer is laid: marks take away what was in it before, and never what the layer has brought,
 * wherever they stand in the archive (image-spec, layer.md, "Whiteouts"). Directories get their attributes and times in
 * the end. Memory: the path of each entry.
 */
export class AppliedDirectory {
  readonly counts: ApplyCounts = { files: 0, removed: 0, skippedDevices: 0, leftAttributes: 0 }
  readonly #tree: Descent
  readonly #owners: Owners
  /** What the layer has brought, with the directories that are of it alone. */
  readonly #own = new Set<Name>()
  /** Directories with something of the layer in them, at any depth. */
  readonly #above = new Set<Name>()
  readonly #directories = new Map<Name, TreeEntry>()
  /** Directories that were there, and are changed by what comes into them or goes out of them. */
  readonly #times = new Map<Name, Times>()
  /** Hard links whose file has not come. */
  readonly #links = new PendingLinks()

  /** @param root descriptor of the directory */
  constructor(root: number, owners: Owners) {
    this.#tree = new Descent(root)
    this.#owners = owners
  }

  /** Type of what is at a path now. */
  modeAt(path: Name): number | undefined {
    return modeAt(this.#tree, path, this.#owners)
  }

  /** Target of the symbolic link that is at a path now. */
  targetAt(path: Name): Uint8Array | undefined {
    return targetAt(this.#tree, path)
  }

  /** @throws FsError ENOTDIR, EINVAL for the path; EPERM, ENOSPC, EIO, …. The message names the item */
  async add(item: AppliedItem): Promise<void> {
    try {
      await this.#add(item)
    } catch (error) {
      throw withPath(error, item.path)
    }
  }

  async #add(item: AppliedItem): Promise<void> {
    const { path } = item
    this.#links.delete(path)
    if ('link' in item) {
      if (!this.#link(path, item.link)) this.#links.add({ path, target: item.link })
    } else if (isDirectory(item.entry.mode)) {
      if (path !== '') this.#makeDirectory(path)
      this.#directories.set(path, item.entry)
      this.#noteOwn(path)
    } else await this.#makeFile(path, item.entry)
  }

  /** Carries a mark out. */
  mark({ kind, path }: Mark): void {
    if (kind === 'own') return
    if (kind === 'whiteout') {
      this.#remove(path)
      return
    }
    const mode = this.modeAt(path)
    if (mode === undefined) return
    if (isDirectory(mode)) this.#empty(path)
    // Opaque over anything else: that is hidden, never what a link leads to.
    else if (!this.#own.has(path)) this.#makeDirectory(path)
  }

  /** Gives the directories their attributes. @throws FsError ENOENT for a hard link without its file */
  finish(): void {
    this.#links.resolve((path, target) => this.#link(path, target))
    const [missing] = this.#links.list()
    if (missing !== undefined) {
      const [path, target] = [missing.path, missing.target].map((name) => JSON.stringify(name))
      throw new FsError('ENOENT', `hard link ${path}: there is no ${target}`)
    }
    const changed = new Set([...this.#directories.keys(), ...this.#times.keys()])
    // Those below first: a name that is made in a directory changes its time.
    for (const path of [...changed].sort().reverse()) this.#furnish(path)
  }

  close(): void {
    this.#tree.close()
  }

  #furnish(path: Name): void {
    const fd = this.#tree.directory(path)
    // Something else may have taken its place since.
    if (fd === undefined) return
    const entry = this.#directories.get(path)
    const times = this.#times.get(path)
    if (entry !== undefined) {
      this.#clearXattrs(fd)
      this.counts.leftAttributes += giveAttributes(fd, attributesOf(entry), this.#owners)
    } else if (times !== undefined) {
      const { atime, atimeNsec, mtime, mtimeNsec } = times
      setTimesFd(fd, { seconds: atime, nanoseconds: atimeNsec }, { seconds: mtime, nanoseconds: mtimeNsec })
    }
  }

  /** A directory over a directory takes the place of its attributes as a whole. */
  #clearXattrs(fd: number): void {
    for (const name of listxattrFd(fd)) {
      const isRecord = name === USER_RECORD && this.#owners === 'override'
      if (isRecord || !/^(user|trusted|security)\./.test(name)) continue
      try {
        removexattrFd(fd, name)
      } catch (error) {
        if (!isErrno(error, 'EPERM', 'EACCES', 'EOPNOTSUPP', 'ENODATA')) throw error
      }
    }
  }

  #makeDirectory(path: Name): void {
    const place = this.#placeOf(path)
    const before = statAt(place.folder, place.name)
    if (before !== undefined && isDirectory(before.mode)) return
    makeDirectory(place, CLOSED)
    this.#implied(path)
  }

  /** A directory of the layer without attributes so far. */
  #implied(path: Name): void {
    this.#noteOwn(path)
    this.#directories.set(path, PLAIN_DIRECTORY)
  }

  async #makeFile(path: Name, entry: TreeEntry): Promise<void> {
    const place = this.#placeOf(path)
    this.#clear(path, place)
    const left = await makeEntry(place, entry, this.#owners)
    if (left === undefined) this.counts.skippedDevices += 1
    else this.counts.leftAttributes += left
    if (isRegular(entry.mode)) this.counts.files += 1
    this.#noteOwn(path)
  }

  /** @returns false where the file is not there */
  #link(path: Name, target: Name): boolean {
    if (path === '') throw new FsError('EINVAL', 'the archive makes the root a link')
    const file = openNamed(this.#tree, target)
    if (file === undefined) return false
    try {
      if (isDirectory(statFd(file).mode)) {
        throw new FsError(
          'EPERM',
          `hard link ${JSON.stringify(path)} to the directory ${JSON.stringify(target)}`,
        )
      }
      if (path !== target) {
        const place = this.#placeOf(path)
        linkInto(file, place, () => this.#clear(path, place))
      }
      this.#noteOwn(path)
      return true
    } finally {
      closeSync(file)
    }
  }

  /** Makes room for something else. */
  #clear(path: Name, place: Place): void {
    const lists = [this.#own, this.#above, this.#directories, this.#times]
    const forget = (name: Name): void => {
      for (const list of lists) list.delete(name)
    }
    clear(place, (below) => forget(`${path}/${below}`))
    forget(path)
  }

  /** A whiteout: takes away what was there before. */
  #remove(path: Name): void {
    const place = placeAt(this.#tree, path)
    const stat = place && statAt(place.folder, place.name)
    if (place === undefined || stat === undefined) return
    if (isDirectory(stat.mode) && this.#hasOwn(path)) {
      this.#empty(path)
      // The directory that was there is hidden, too: what has this name now is of the layer alone.
      if (!this.#directories.has(path)) this.#implied(path)
    } else if (!this.#own.has(path)) {
      this.#noteTimes(parentOf(path), place.folder)
      this.#clear(path, place)
      this.counts.removed += 1
    }
  }

  #hasOwn(path: Name): boolean {
    return this.#own.has(path) || this.#above.has(path)
  }

  #noteOwn(path: Name): void {
    this.#own.add(path)
    for (let above = parentOf(path); above !== '' && !this.#above.has(above); above = parentOf(above)) {
      this.#above.add(above)
    }
  }

  /** Takes away what was in a directory before, at any depth. */
  #empty(path: Name): void {
    const fd = this.#tree.directory(path)
    if (fd === undefined) return
    for (const name of listNames(fd)) this.#remove(path === '' ? name : `${path}/${name}`)
  }

  #placeOf(path: Name): Place {
    const place = this.#tree.placeToMake(path, (made, folder) => {
      this.#noteTimes(parentOf(made), folder)
      this.#implied(made)
    })
    this.#noteTimes(parentOf(path), place.folder)
    return place
  }

  /** Before the first change in a directory that the layer has not made. */
  #noteTimes(path: Name, folder: number): void {
    if (!this.#times.has(path) && !this.#own.has(path)) this.#times.set(path, statFd(folder))
  }
}

function parentOf(path: Name): Name {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0))
}
