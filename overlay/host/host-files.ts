import { type BigIntStats, closeSync, constants, fstatSync, lstatSync, openSync } from 'node:fs'
import { FsError, fingerprint, type Name, packNodeDevice, withFsError } from '../../src/base/index.ts'
import { O_PATH, unnoticed } from '../../src/sys/files/at.ts'
import { replaceDescriptor } from '../../src/sys/files/descriptor.ts'
import { descriptorPath } from '../../src/sys/plain/proc.ts'
import { HOST_NUMBERS } from '../stored/inode-numbers.ts'
import type { Ref } from '../stored/layer-flags.ts'

const NANO = 1_000_000_000n

const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants

/** The name of an inode: where it was first met. */
interface HostInode {
  readonly dev: bigint
  readonly ino: bigint
  readonly parent: Ref
  readonly name: Name
}

export interface HostFilesOptions {
  /** What messages call the directory; its path where absent. */
  readonly label?: string
  /** Files kept open for data. Must exceed the reads that can be under way at once; default 256. */
  readonly openFiles?: number
}

const OPEN_DIRECTORIES = 64
/** Refs below this are inode numbers of the file system of the root. Others are counted from here as they are met. */
const MET = 2 ** 32

/**
 * The inodes of a host directory tree, and the descriptors to get at them. Every path is
 * `<descriptor of the directory>/<name>` (`descriptorPath`): depth does not matter, and no path is walked that somebody could bend.
 *
 * A data descriptor is given to others (`ExtentSink.file`) who do not say when they are done. The rule: it is open
 * until `openFiles` other files were asked for after it. Then its number is kept for as long again, leading to a
 * descriptor that cannot be read. So a reader that comes far too late gets EBADF, never the bytes of another file;
 * one that is in the middle of a read holds the open file itself (dup2(2)).
 */
export class HostFiles {
  readonly #label: string
  /** What was met. */
  readonly #inodes = new Map<Ref, HostInode>()
  /** Refs of what has no number that could be one. */
  readonly #counted = new Map<string, Ref>()
  readonly #rootFd: number
  readonly #directories = new Map<Ref, number>()
  readonly #files = new Map<Ref, number>()
  readonly #retired: number[] = []
  /** Attributes of the file that was looked at last: one request asks for them several times. */
  #seen: { readonly ref: Ref; readonly stats: BigIntStats } | undefined
  readonly #openFiles: number

  /** @throws FsError ENOENT, ENOTDIR, EACCES */
  constructor(path: string, options: HostFilesOptions) {
    this.#label = options.label ?? path
    this.#openFiles = options.openFiles ?? 256
    this.#rootFd = withFsError(this.#label, () => openSync(path, O_PATH | O_DIRECTORY))
    const stats = fstatSync(this.#rootFd, { bigint: true })
    this.#inodes.set(0, { dev: stats.dev, ino: stats.ino, parent: 0, name: '' })
    this.#seen = { ref: 0, stats }
  }

  close(): void {
    for (const fd of [...this.#directories.values(), ...this.#files.values(), ...this.#retired]) closeSync(fd)
    this.#directories.clear()
    this.#files.clear()
    this.#retired.length = 0
    closeSync(this.#rootFd)
  }

  /** The ref of an inode that is met; hard links share it. 0 is the root. */
  ref(stats: BigIntStats, parent: Ref, name: Name): Ref {
    const { dev, ino } = stats
    const ref = this.#refOf(dev, ino)
    if (!this.#inodes.has(ref)) this.#inodes.set(ref, { dev, ino, parent, name })
    this.#seen = { ref, stats }
    return ref
  }

  #refOf(dev: bigint, ino: bigint): Ref {
    const root = this.#inode(0)
    if (dev === root.dev) {
      if (ino === root.ino) return 0
      if (ino > 0n && ino < MET) return Number(ino)
    }
    const key = `${dev}:${ino}`
    const ref = this.#counted.get(key) ?? MET + 1 + this.#counted.size
    this.#counted.set(key, ref)
    return ref
  }

  /**
   * The time of its birth stands for the generation that its file system gives an inode: one that has the number of another
   * was born later. @throws FsError as `stats`
   */
  generation(ref: Ref): number | undefined {
    if (ref >= MET) return undefined
    const { birthtimeNs } = this.stats(ref)
    return birthtimeNs > 0n
      ? fingerprint([Number(birthtimeNs / NANO), Number(birthtimeNs % NANO)])
      : undefined
  }

  /** The file system of the root, as `new_encode_dev` packs it. */
  get device(): number {
    return packNodeDevice(this.#inode(0).dev)
  }

  /**
   * Inode number: that of the file system of the root, which outlasts the mount. What lies on another one, or has a
   * number that is not below `HOST_NUMBERS`, is counted on from there as it is met.
   */
  number(ref: Ref): number {
    const { dev, ino } = this.#inode(ref)
    return dev === this.#inode(0).dev && ino > 0n && ino < HOST_NUMBERS
      ? Number(ino)
      : HOST_NUMBERS + (ref % MET)
  }

  /** @throws FsError ENOENT; ESTALE for a number that was never given or whose file was replaced */
  stats(ref: Ref): BigIntStats {
    if (this.#seen?.ref === ref) return this.#seen.stats
    const stats =
      ref === 0
        ? fstatSync(this.#rootFd, { bigint: true })
        : withFsError(this.#label, () => lstatSync(bytesOf(this.path(ref)), { bigint: true }))
    this.#assertSame(ref, stats)
    this.#seen = { ref, stats }
    return stats
  }

  /** A path of bounded length that is valid until the next call here. @throws FsError */
  path(ref: Ref): Name {
    if (ref === 0) return `${descriptorPath(this.#rootFd)}/.`
    const { parent, name } = this.#inode(ref)
    return `${descriptorPath(this.directory(parent))}/${name}`
  }

  /** An O_PATH descriptor of a directory, valid until the next call here. @throws FsError ENOTDIR */
  directory(ref: Ref): number {
    // Climbs to the nearest open directory without recursion: trees may be deeper than the stack.
    const missing: Ref[] = []
    let at = ref
    while (at !== 0 && !this.#directories.has(at)) {
      missing.push(at)
      at = this.#inode(at).parent
    }
    let fd = at === 0 ? this.#rootFd : this.#touch(this.#directories, at)
    for (let child = missing.pop(); child !== undefined; child = missing.pop()) {
      const path = bytesOf(`${descriptorPath(fd)}/${this.#inode(child).name}`)
      const opened = withFsError(this.#label, () => openSync(path, O_PATH | O_DIRECTORY | O_NOFOLLOW))
      try {
        this.#assertSame(child, fstatSync(opened, { bigint: true }))
      } catch (error) {
        closeSync(opened)
        throw error
      }
      this.#directories.set(child, opened)
      fd = opened
      const oldest = this.#overflow(this.#directories, OPEN_DIRECTORIES)
      if (oldest !== undefined) closeSync(oldest)
    }
    return fd
  }

  /**
   * A descriptor to read a regular file with; see the class for how long.
   * @param ref that `stats` has just shown to be one: opening a device or a fifo would have effects of its own
   * @throws FsError
   */
  file(ref: Ref): number {
    if (this.#files.has(ref)) return this.#touch(this.#files, ref)
    const path = this.path(ref)
    const flags = O_RDONLY | O_NONBLOCK | O_NOFOLLOW
    const fd = withFsError(this.#label, () => unnoticed((more) => openSync(bytesOf(path), flags | more)))
    try {
      this.#assertSame(ref, fstatSync(fd, { bigint: true }))
    } catch (error) {
      closeSync(fd)
      throw error
    }
    this.#files.set(ref, fd)
    const oldest = this.#overflow(this.#files, this.#openFiles)
    if (oldest !== undefined) this.#retire(oldest)
    return fd
  }

  #retire(fd: number): void {
    replaceDescriptor(this.#rootFd, fd)
    this.#retired.push(fd)
    if (this.#retired.length <= this.#openFiles) return
    const free = this.#retired.shift()
    if (free !== undefined) closeSync(free)
  }

  /** @returns the descriptor of an entry that is open, as the one used last */
  #touch(open: Map<Ref, number>, ref: Ref): number {
    const fd = open.get(ref)
    if (fd === undefined) throw new RangeError(`inode ${ref} is not open`)
    open.delete(ref)
    open.set(ref, fd)
    return fd
  }

  #overflow(open: Map<Ref, number>, limit: number): number | undefined {
    if (open.size <= limit) return undefined
    for (const [ref, fd] of open) {
      open.delete(ref)
      return fd
    }
    return undefined
  }

  #inode(ref: Ref): HostInode {
    const inode = this.#inodes.get(ref)
    if (inode === undefined) throw new FsError('ESTALE', `layer ${this.#label}: inode ${ref} was never met`)
    return inode
  }

  #assertSame(ref: Ref, stats: BigIntStats): void {
    const inode = this.#inode(ref)
    if (inode.dev === stats.dev && inode.ino === stats.ino) return
    throw new FsError(
      'ESTALE',
      `layer ${this.#label}: ${JSON.stringify(inode.name)} was replaced by another file`,
    )
  }
}

/** Paths go to Node as bytes: a string would be taken for UTF-8. */
export function bytesOf(path: Name): Buffer {
  return Buffer.from(path, 'latin1')
}
