import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { FsError, type Name, type NewTime, S_IFMT, type XattrMode } from '../../../src/base/index.ts'
import { linkFd, mknodAt, O_PATH, openAt, openUnnamed, renameAt } from '../../../src/sys/files/at.ts'
import { setTimesFd } from '../../../src/sys/files/fd-attributes.ts'
import { copyRange, fallocateFd } from '../../../src/sys/files/file-io.ts'
import { removexattrFd, setxattrFd } from '../../../src/sys/files/xattr.ts'
import { readMapped } from '../programs/direct-io.ts'
import { writeMapped } from './mapping.ts'

const {
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  O_CREAT,
  O_EXCL,
  O_TRUNC,
  O_APPEND,
  O_NOFOLLOW,
  O_DIRECTORY,
  O_NONBLOCK,
} = constants

/** Who makes a change. The mount must check permissions as for any other program. */
export interface Actor {
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  readonly umask: number
}

/**
 * A mounted tree, changed by system calls as programs do. Paths are relative to it, binary strings, and go from the
 * working directory of the process, so that it does not matter who may reach the mount. Errors have a `code`.
 */
export class MountedTree {
  /** Files held open, by a number of the caller's. */
  readonly #held = new Map<number, number>()

  constructor(root: string) {
    process.chdir(root)
    process.umask(0)
  }

  /** Runs `change` with the rights of somebody else. */
  as<T>(actor: Actor, change: () => T): T {
    process.umask(actor.umask)
    process.setgroups?.([...actor.groups])
    process.setegid?.(actor.gid)
    process.seteuid?.(actor.uid)
    try {
      return change()
    } finally {
      process.seteuid?.(0)
      process.setegid?.(0)
      process.setgroups?.([0])
      process.umask(0)
    }
  }

  create(path: Name, mode: number): void {
    closeSync(openSync(bytes(path), O_CREAT | O_EXCL | O_RDWR, mode))
  }
  /** What a shell does with `>`: made where it is missing, emptied where it is there. */
  replaceContent(path: Name, data: Uint8Array, mode: number): void {
    this.#with(openSync(bytes(path), O_CREAT | O_TRUNC | O_WRONLY | O_NONBLOCK, mode), (fd) =>
      writeSync(fd, data),
    )
  }
  write(path: Name, offset: number, data: Uint8Array): void {
    this.#file(path, (fd) => writeSync(fd, data, 0, data.length, offset))
  }
  append(path: Name, data: Uint8Array): void {
    this.#file(path, (fd) => writeSync(fd, data), O_APPEND)
  }
  /** Bytes within the file, by a store into its pages; those beyond its end are left out. */
  writeMapped(path: Name, offset: number, data: Uint8Array): void {
    this.#file(path, (fd) => storeInto(fd, offset, data))
  }
  sync(path: Name): void {
    this.#file(path, (fd) => fsyncSync(fd))
  }
  truncate(path: Name, size: number): void {
    truncateSync(bytes(path), size)
  }
  fallocate(path: Name, mode: number, offset: number, length: number): void {
    this.#file(path, (fd) => fallocateFd(fd, mode, offset, length))
  }
  /** @returns bytes copied */
  copyRange(from: Name, fromOffset: number, to: Name, toOffset: number, length: number): number {
    return this.#file(from, (source) =>
      this.#file(to, (target) => copyRange(source, fromOffset, target, toOffset, length)),
    )
  }
  mkdir(path: Name, mode: number): void {
    mkdirSync(bytes(path), { mode })
  }
  /** @param mode with the type; rdev as the kernel encodes it */
  mknod(path: Name, mode: number, rdev: number): void {
    this.#at(path, (dir, name) => mknodAt(dir, name, mode, rdev))
  }
  symlink(path: Name, target: string): void {
    symlinkSync(bytes(target), bytes(path))
  }
  link(from: Name, to: Name): void {
    linkSync(bytes(from), bytes(to))
  }
  unlink(path: Name): void {
    unlinkSync(bytes(path))
  }
  rmdir(path: Name): void {
    rmdirSync(bytes(path))
  }
  rename(from: Name, to: Name): void {
    renameSync(bytes(from), bytes(to))
  }
  /** @param flags of renameat2(2) */
  renameWith(from: Name, to: Name, flags: number): void {
    this.#at(from, (fromDir, fromName) =>
      this.#at(to, (toDir, toName) => renameAt(fromDir, fromName, toDir, toName, flags)),
    )
  }
  chmod(path: Name, mode: number): void {
    chmodSync(bytes(path), mode)
  }
  /** @param uid, gid -1 to leave it */
  chown(path: Name, uid: number, gid: number): void {
    lchownSync(bytes(path), uid, gid)
  }
  times(path: Name, atime: NewTime | undefined, mtime: NewTime | undefined): void {
    this.#itself(path, (fd) => setTimesFd(fd, atime, mtime))
  }
  setxattr(path: Name, name: Name, value: Uint8Array, mode: XattrMode): void {
    this.#itself(path, (fd) => setxattrFd(fd, name, value, mode))
  }
  removexattr(path: Name, name: Name): void {
    this.#itself(path, (fd) => removexattrFd(fd, name))
  }

  hold(path: Name, handle: number): void {
    this.#held.set(handle, openRegular(path))
  }
  tmpfile(directory: Name, mode: number, handle: number): void {
    const fd = openSync(bytes(directory), O_RDONLY | O_DIRECTORY)
    this.#with(fd, () => this.#held.set(handle, openUnnamed(fd, mode)))
  }
  heldWrite(handle: number, offset: number, data: Uint8Array): void {
    writeSync(this.#fd(handle), data, 0, data.length, offset)
  }
  heldWriteMapped(handle: number, offset: number, data: Uint8Array): void {
    storeInto(this.#fd(handle), offset, data)
  }
  heldTruncate(handle: number, size: number): void {
    ftruncateSync(this.#fd(handle), size)
  }
  heldChmod(handle: number, mode: number): void {
    fchmodSync(this.#fd(handle), mode)
  }
  heldSync(handle: number): void {
    fsyncSync(this.#fd(handle))
  }
  heldLink(handle: number, path: Name): void {
    this.#at(path, (dir, name) => linkFd(this.#fd(handle), dir, name))
  }
  /** Attributes and content as the open file shows them. */
  heldLook(handle: number): string {
    const fd = this.#fd(handle)
    const { mode, nlink, size, uid, gid } = fstatSync(fd)
    const content = Buffer.alloc(size)
    const length = readSync(fd, content, 0, size, 0)
    if (size > 0 && !readMapped(fd, 0, size).equals(content)) throw new Error('the map differs from the file')
    return [mode.toString(8), nlink, uid, gid, size, length, checksum(content)].join(' ')
  }
  release(handle: number): void {
    closeSync(this.#fd(handle))
    this.#held.delete(handle)
  }
  close(): void {
    for (const handle of [...this.#held.keys()]) this.release(handle)
  }

  #fd(handle: number): number {
    const fd = this.#held.get(handle)
    if (fd === undefined) throw new Error(`handle ${handle} is not held`)
    return fd
  }
  #file<T>(path: Name, use: (fd: number) => T, flags = 0): T {
    return this.#with(openRegular(path, flags), use)
  }
  #itself<T>(path: Name, use: (fd: number) => T): T {
    return this.#with(openSync(bytes(path), O_PATH | O_NOFOLLOW), use)
  }
  #at<T>(path: Name, use: (dir: number, name: Name) => T): T {
    const cut = path.lastIndexOf('/')
    const directory = cut < 0 ? '.' : path.slice(0, cut)
    return this.#with(openSync(bytes(directory), O_PATH | O_DIRECTORY), (dir) =>
      use(dir, path.slice(cut + 1)),
    )
  }
  #with<T>(fd: number, use: (fd: number) => T): T {
    try {
      return use(fd)
    } finally {
      closeSync(fd)
    }
  }
}

/** FIFOs and devices are not opened: one could wait, the other reach something real. */
function openRegular(path: Name, flags = 0): number {
  const parts = path.split('/')
  const name = parts.pop() ?? ''
  const dir = openSync(bytes(parts.join('/') || '.'), O_PATH | O_DIRECTORY)
  try {
    const probe = openAt(dir, name, O_PATH)
    try {
      if ((fstatSync(probe).mode & S_IFMT) !== constants.S_IFREG)
        throw new FsError('EINVAL', 'no regular file')
    } finally {
      closeSync(probe)
    }
    return openAt(dir, name, O_RDWR | flags)
  } finally {
    closeSync(dir)
  }
}

function storeInto(fd: number, offset: number, data: Uint8Array): void {
  const { size } = fstatSync(fd)
  const length = Math.min(data.length, size - offset)
  if (length > 0) writeMapped(fd, offset, data.subarray(0, length), offset % 2 === 0)
}

/** FNV-1a, enough to tell what the generator writes. */
function checksum(data: Uint8Array): number {
  let hash = 0x811c9dc5
  for (const byte of data) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

function bytes(path: Name): Buffer {
  return Buffer.from(path, 'latin1')
}
