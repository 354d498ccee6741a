import type { Name, NewTime, RenameMode, Stat, XattrMode } from '../../../../src/base/index.ts'

/** What is compared of a file; names of a directory are compared by walking it. */
export interface Seen {
  readonly stat: Stat
  readonly content: string | undefined
  readonly xattrs: Readonly<Record<string, string>>
}

/**
 * A writable tree as programs use it: by paths whose parts are separated by `/`, and by files held open under a number.
 * All methods throw FsError with the errno that a program would see.
 */
export interface Side {
  create(path: Name, mode: number): void
  mkfifo(path: Name, mode: number): void
  mkdir(path: Name, mode: number): void
  symlink(path: Name, target: string): void
  link(from: Name, to: Name): void
  unlink(path: Name): void
  rmdir(path: Name): void
  rename(from: Name, to: Name, mode: RenameMode): void
  chmod(path: Name, mode: number): void
  chown(path: Name, uid: number | undefined, gid: number | undefined): void
  times(path: Name, atime: NewTime | undefined, mtime: NewTime | undefined): void
  truncate(path: Name, size: number): void
  write(path: Name, offset: number, data: string): void
  setxattr(path: Name, name: Name, value: string, mode: XattrMode): void
  removexattr(path: Name, name: Name): void
  list(path: Name): Name[]
  look(path: Name): Seen
  /** Opens a regular file for reading and writing. */
  hold(path: Name, handle: number): void
  heldWrite(handle: number, offset: number, data: string): void
  heldTruncate(handle: number, size: number): void
  heldChmod(handle: number, mode: number): void
  heldLook(handle: number): Seen
  heldLink(handle: number, path: Name): void
  release(handle: number): void
  /** Makes a file without a name and holds it. */
  tmpfile(parent: Name, mode: number, handle: number): void
  /** Unmounts and mounts again; nothing may be held. */
  remount(): void
  close(): void
}

export function split(path: Name): { readonly parents: Name[]; readonly name: Name } {
  const parts = path.split('/').filter((part) => part !== '')
  const name = parts.pop() ?? ''
  return { parents: parts, name }
}
