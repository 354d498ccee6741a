import { closeSync, lstatSync, readlinkSync, statfsSync } from 'node:fs'
import {
  ALL_MARKS,
  direntType,
  type ExtentSink,
  type FlagsForm,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  LruCache,
  NAME_MAX,
  type Name,
  type Stat,
  type StatFs,
  type Whence,
  withFsError,
} from '../../src/base/index.ts'
import { reopenDirectory } from '../../src/sys/files/at.ts'
import { seekExtent } from '../../src/sys/files/descriptor.ts'
import { listNames } from '../../src/sys/files/directory-entries.ts'
import { readFlags } from '../../src/sys/files/inode-flags.ts'
import { lgetxattr, llistxattr } from '../../src/sys/files/xattr.ts'
import { hostStat } from '../../src/sys/plain/host-stat.ts'
import { descriptorPath } from '../../src/sys/plain/proc.ts'
import type { DirectoryCursor, InodeSource, Layer, LayerEntry, Ref } from '../stored/layer-flags.ts'
import { LISTED_NAMES } from '../stored/listed-names.ts'
import { bytesOf, HostFiles, type HostFilesOptions } from './host-files.ts'
import { NameCursor } from './name-cursor.ts'

/** How a directory of this machine is read as a layer. */
export interface HostDirectoryOptions extends HostFilesOptions {
  /** Its renamed directories are continued where `overlay.redirect` leads; otherwise they are EIO. */
  readonly followsRedirects?: boolean
}

/**
 * A directory of this machine as a read-only layer. It must not be changed while it is in use, as with the lower
 * directories of overlayfs: a file that was replaced is ESTALE. Inode numbers are those of the file system, and so
 * are refs where they are below 2^32. A ref is good once its file was met, and costs memory from then on.
 */
export class HostDirectoryLayer implements Layer {
  readonly marks = ALL_MARKS
  readonly label: string
  readonly root: Ref = 0
  /** Inode numbers below 2^32, and as many that are counted. */
  readonly refSpan = 2 ** 33 - 1
  readonly inodes: InodeSource
  readonly attributes = 'all'
  readonly hasBirthTimes = true
  readonly followsRedirects: boolean
  readonly #files: HostFiles
  readonly #listings = new LruCache<Ref, readonly Name[]>(LISTED_NAMES)
  /** Names of attributes asked for last: one request asks several times. */
  #listed: { readonly ref: Ref; readonly names: readonly Name[] } | undefined
  #last: { readonly ref: Ref; readonly names: readonly Name[] } | undefined

  /**
   * @param path of the directory; `/proc/self/fd/N` for one that is open already
   * @throws FsError ENOENT, ENOTDIR, EACCES
   */
  constructor(path: string, options: HostDirectoryOptions = {}) {
    this.label = options.label ?? path
    this.followsRedirects = options.followsRedirects ?? false
    this.#files = new HostFiles(path, options)
    this.inodes = { device: this.#files.device }
  }

  /** Closes all descriptors, also those given to an `ExtentSink`. */
  close(): void {
    this.#files.close()
  }

  stat(ref: Ref): Stat {
    return hostStat(this.#files.stats(ref), this.#files.number(ref))
  }

  generation(ref: Ref): number | undefined {
    return this.#files.generation(ref)
  }

  inodeFlags(ref: Ref, form: FlagsForm): Uint8Array {
    if (isRegular(Number(this.#files.stats(ref).mode))) return readFlags(this.#files.file(ref), form)
    const fd = reopenDirectory(this.#files.directory(ref))
    try {
      return readFlags(fd, form)
    } finally {
      closeSync(fd)
    }
  }

  lookup(directory: Ref, name: Name): LayerEntry | undefined {
    this.#assertName(name)
    return this.#entryAt(this.#files.directory(directory), directory, name)
  }

  openDirectory(directory: Ref, position: number): DirectoryCursor {
    return this.#cursor(directory, this.#names(directory), position)
  }

  openDirectoryAt(directory: Ref, name: Name): DirectoryCursor {
    const names = this.#names(directory)
    let low = 0
    let high = names.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((names[middle] ?? '') < name) low = middle + 1
      else high = middle
    }
    return this.#cursor(directory, names, low)
  }

  readlink(ref: Ref): Uint8Array {
    if (!isSymlink(this.stat(ref).mode)) {
      throw new FsError('EINVAL', `layer ${this.label}: inode ${ref} is no symbolic link`)
    }
    const path = this.#files.path(ref)
    return withFsError(this.label, () => readlinkSync(bytesOf(path), 'buffer'))
  }

  listxattr(ref: Ref): readonly Name[] {
    if (this.#listed?.ref === ref) return this.#listed.names
    const names = llistxattr(this.#files.path(ref))
    this.#listed = { ref, names }
    return names
  }

  getxattr(ref: Ref, name: Name): Uint8Array | undefined {
    return lgetxattr(this.#files.path(ref), name)
  }

  extents(ref: Ref, offset: number, length: number, sink: ExtentSink): void {
    const stat = this.#regular(ref)
    const clipped = Math.min(length, stat.size - offset)
    if (offset < 0 || clipped <= 0) return
    sink.file(this.#files.file(ref), offset, clipped)
  }

  seek(ref: Ref, offset: number, whence: Whence): number {
    const stat = this.#regular(ref)
    const found = offset < stat.size ? seekExtent(this.#files.file(ref), offset, whence) : undefined
    if (found === undefined) {
      throw new FsError('ENXIO', `layer ${this.label}: inode ${ref}: no ${whence} from ${offset}`)
    }
    return found
  }

  statfs(): StatFs {
    const path = this.#files.path(this.root)
    const all = withFsError(this.label, () => statfsSync(bytesOf(path)))
    return {
      blockSize: all.bsize,
      blocks: all.blocks,
      blocksFree: all.bfree,
      blocksAvailable: all.bavail,
      files: all.files,
      filesFree: all.ffree,
      nameMax: NAME_MAX,
    }
  }

  /** A descriptor of the real file, whatever is shown in its place; valid as those given to an `ExtentSink`. */
  protected descriptorOf(ref: Ref): number {
    return this.#files.file(ref)
  }

  #regular(ref: Ref): Stat {
    const stat = this.stat(ref)
    if (isRegular(stat.mode)) return stat
    const code = isDirectory(stat.mode) ? 'EISDIR' : 'EINVAL'
    throw new FsError(code, `layer ${this.label}: inode ${ref} is no regular file`)
  }

  #assertName(name: Name): void {
    if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
      throw new FsError('EINVAL', `layer ${this.label}: ${JSON.stringify(name)} is no file name`)
    }
  }

  #entryAt(fd: number, directory: Ref, name: Name): LayerEntry | undefined {
    const path = bytesOf(`${descriptorPath(fd)}/${name}`)
    const stats = withFsError(this.label, () => lstatSync(path, { bigint: true, throwIfNoEntry: false }))
    if (stats === undefined) return undefined
    const ref = this.#files.ref(stats, directory, name)
    if (ref >= this.refSpan) throw new FsError('EOVERFLOW', `layer ${this.label}: more than 2^32 inodes`)
    return { name, ref, ino: this.#files.number(ref), type: direntType(Number(stats.mode)) }
  }

  /** Names in byte order. @throws FsError ENOTDIR */
  #names(directory: Ref): readonly Name[] {
    if (this.#last?.ref === directory) return this.#last.names
    const names = this.#listings.get(directory) ?? this.#readNames(directory)
    this.#listings.set(directory, names, names.length + 1)
    this.#last = { ref: directory, names }
    return names
  }

  #readNames(directory: Ref): readonly Name[] {
    // The default order of strings is that of their code units, which here are the bytes.
    return listNames(this.#files.directory(directory), 'unnoticed').sort()
  }

  #cursor(directory: Ref, names: readonly Name[], start: number): DirectoryCursor {
    return new NameCursor(names, start, (name) =>
      this.#entryAt(this.#files.directory(directory), directory, name),
    )
  }
}
