import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import {
  FsError,
  isRegular,
  isSymlink,
  type Name,
  type NewTime,
  type RenameMode,
  S_IFIFO,
  type XattrMode,
} from '../../../../src/base/index.ts'
import {
  linkAt,
  linkFd,
  mkdirAt,
  mknodAt,
  O_PATH,
  openAt,
  openUnnamed,
  readlinkFd,
  renameAt,
  reopenDirectory,
  reopenFd,
  rmdirAt,
  symlinkAt,
  unlinkAt,
} from '../../../../src/sys/files/at.ts'
import { listNames } from '../../../../src/sys/files/directory-entries.ts'
import { chmodFd, chownFd, setTimesFd } from '../../../../src/sys/files/fd-attributes.ts'
import { pwrite, truncateFd } from '../../../../src/sys/files/file-io.ts'
import { statAt, statFd } from '../../../../src/sys/files/statx.ts'
import { getxattrFd, listxattrFd, removexattrFd, setxattrFd } from '../../../../src/sys/files/xattr.ts'
import { type Seen, type Side, split } from './side.ts'

const { O_CREAT, O_DIRECTORY, O_EXCL, O_RDWR } = constants
const FLAGS: Readonly<Record<RenameMode, number>> = { replace: 0, noreplace: 1, exchange: 2 }

/** A tree mounted by the kernel. */
export class KernelSide implements Side {
  readonly #target: string
  readonly #options: string
  readonly #held = new Map<number, number>()
  #root = -1

  constructor(target: string, options: string) {
    this.#target = target
    this.#options = options
    this.#mount()
  }

  #mount(): void {
    execFileSync('mount', ['-t', 'overlay', '-o', this.#options, 'overlay', this.#target], {
      timeout: 20_000,
      stdio: 'pipe',
    })
    this.#root = openSync(this.#target, O_PATH | O_DIRECTORY)
  }

  #unmount(): void {
    // Not mounted where mounting it anew failed: that is the error to be told.
    if (this.#root < 0) return
    closeSync(this.#root)
    this.#root = -1
    execFileSync('umount', [this.#target], { timeout: 20_000 })
  }

  remount(): void {
    this.#unmount()
    this.#mount()
  }

  close(): void {
    for (const handle of [...this.#held.keys()]) this.release(handle)
    this.#unmount()
  }

  #at<T>(path: Name, use: (dir: number, name: Name) => T): T {
    const { parents, name } = split(path)
    return this.#walk(parents, (dir) => use(dir, name))
  }

  #walk<T>(parts: readonly Name[], use: (dir: number) => T): T {
    let dir = reopenFd(this.#root, O_PATH)
    try {
      for (const part of parts) {
        const next = openAt(dir, part, O_PATH | O_DIRECTORY)
        closeSync(dir)
        dir = next
      }
      return use(dir)
    } finally {
      closeSync(dir)
    }
  }

  #file<T>(path: Name, use: (fd: number) => T): T {
    const { parents, name } = split(path)
    if (name === '') return this.#walk([], use)
    return this.#walk(parents, (dir) => {
      const fd = openAt(dir, name, O_PATH)
      try {
        return use(fd)
      } finally {
        closeSync(fd)
      }
    })
  }

  #data<T>(path: Name, use: (fd: number) => T): T {
    return this.#file(path, (fd) => {
      assertRegular(fd)
      const data = reopenFd(fd, O_RDWR)
      try {
        return use(data)
      } finally {
        closeSync(data)
      }
    })
  }

  create(path: Name, mode: number): void {
    this.#at(path, (dir, name) => closeSync(openAt(dir, name, O_CREAT | O_EXCL | O_RDWR, mode)))
  }
  mkfifo(path: Name, mode: number): void {
    this.#at(path, (dir, name) => mknodAt(dir, name, S_IFIFO | mode, 0))
  }
  mkdir(path: Name, mode: number): void {
    this.#at(path, (dir, name) => mkdirAt(dir, name, mode))
  }
  symlink(path: Name, target: string): void {
    this.#at(path, (dir, name) => symlinkAt(Buffer.from(target), dir, name))
  }
  link(from: Name, to: Name): void {
    this.#at(from, (dir, name) => this.#at(to, (toDir, toName) => linkAt(dir, name, toDir, toName)))
  }
  unlink(path: Name): void {
    this.#at(path, unlinkAt)
  }
  rmdir(path: Name): void {
    this.#at(path, rmdirAt)
  }
  rename(from: Name, to: Name, mode: RenameMode): void {
    this.#at(from, (dir, name) =>
      this.#at(to, (toDir, toName) => renameAt(dir, name, toDir, toName, FLAGS[mode])),
    )
  }
  chmod(path: Name, mode: number): void {
    this.#file(path, (fd) => {
      if (isSymlink(statFd(fd).mode)) throw new FsError('EOPNOTSUPP', 'symlink')
      chmodFd(fd, mode)
    })
  }
  chown(path: Name, uid: number | undefined, gid: number | undefined): void {
    this.#file(path, (fd) => chownFd(fd, uid, gid))
  }
  times(path: Name, atime: NewTime | undefined, mtime: NewTime | undefined): void {
    this.#file(path, (fd) => setTimesFd(fd, atime, mtime))
  }
  truncate(path: Name, size: number): void {
    this.#data(path, (fd) => truncateFd(fd, size))
  }
  write(path: Name, offset: number, data: string): void {
    this.#data(path, (fd) => pwrite(fd, offset, Buffer.from(data)))
  }
  setxattr(path: Name, name: Name, value: string, mode: XattrMode): void {
    this.#file(path, (fd) => setxattrFd(fd, name, Buffer.from(value), mode))
  }
  removexattr(path: Name, name: Name): void {
    this.#file(path, (fd) => removexattrFd(fd, name))
  }
  list(path: Name): Name[] {
    return this.#walk(
      path.split('/').filter((part) => part !== ''),
      (dir) => {
        const fd = reopenDirectory(dir)
        try {
          // The kernel lists whiteouts of directories of one layer, and denies them then.
          return listNames(fd).filter((name) => statAt(dir, name) !== undefined)
        } finally {
          closeSync(fd)
        }
      },
    )
  }
  look(path: Name): Seen {
    return this.#file(path, (fd) => look(fd))
  }
  hold(path: Name, handle: number): void {
    this.#file(path, (fd) => {
      assertRegular(fd)
      this.#held.set(handle, reopenFd(fd, O_RDWR))
    })
  }
  heldWrite(handle: number, offset: number, data: string): void {
    pwrite(this.#handle(handle), offset, Buffer.from(data))
  }
  heldTruncate(handle: number, size: number): void {
    truncateFd(this.#handle(handle), size)
  }
  heldChmod(handle: number, mode: number): void {
    chmodFd(this.#handle(handle), mode)
  }
  heldLook(handle: number): Seen {
    return look(this.#handle(handle))
  }
  heldLink(handle: number, path: Name): void {
    this.#at(path, (dir, name) => linkFd(this.#handle(handle), dir, name))
  }
  release(handle: number): void {
    closeSync(this.#handle(handle))
    this.#held.delete(handle)
  }
  tmpfile(parent: Name, mode: number, handle: number): void {
    this.#walk(
      parent.split('/').filter((part) => part !== ''),
      (dir) => {
        this.#held.set(handle, openUnnamed(dir, mode))
      },
    )
  }
  #handle(handle: number): number {
    const fd = this.#held.get(handle)
    if (fd === undefined) throw new Error(`handle ${handle} is not held`)
    return fd
  }
}

function assertRegular(fd: number): void {
  if (!isRegular(statFd(fd).mode)) throw new FsError('EINVAL', 'no regular file')
}

function look(fd: number): Seen {
  const stat = statFd(fd)
  const names = listxattrFd(fd)
    .filter((name) => name.startsWith('user.') || name.startsWith('trusted.'))
    .sort()
  const xattrs = Object.fromEntries(
    names.map((name) => [name, Buffer.from(getxattrFd(fd, name) ?? []).toString('latin1')]),
  )
  return { stat, xattrs, content: content(fd, stat.mode, stat.size) }
}

function content(fd: number, mode: number, size: number): string | undefined {
  if (isSymlink(mode)) return Buffer.from(readlinkFd(fd)).toString('latin1')
  if (!isRegular(mode)) return undefined
  const data = reopenFd(fd, constants.O_RDONLY)
  try {
    const bytes = Buffer.alloc(size)
    return bytes.toString('latin1', 0, readSync(data, bytes, 0, size, 0))
  } finally {
    closeSync(data)
  }
}
