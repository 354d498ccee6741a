import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { decodePath, encodePath, FsError, type Name, type PathText } from '../../base/index.ts'
import { isOpenToStrangers, isTrustedOwner, mayFollow } from '../plain/owner.ts'
import { mkdirAt, O_PATH, openAt, openParent, readlinkFd, rmdirAt } from './at.ts'
import { duplicateDescriptor } from './descriptor.ts'

/** The kernel's limit (include/linux/namei.h:MAXSYMLINKS). */
const MAX_SYMLINKS = 40

const DIRECTORY = O_PATH | constants.O_DIRECTORY

export interface WalkOptions {
  /** Mode of missing folders, which the walk then makes; without it they are ENOENT. */
  readonly make?: number
  /** Refuses to walk through a folder in which another user could exchange the next name. */
  readonly guarded: boolean
}

/** A folder that the walk made. Removing it by `parent` works wherever `parent` was moved. */
export interface MadeFolder {
  /** O_PATH descriptor of the folder that contains it. */
  readonly parent: number
  readonly name: Name
}

export interface Walked {
  /** O_PATH descriptor of the folder; the caller closes it. */
  readonly fd: number
  /** Without symbolic links. */
  readonly path: PathText
  /** Outermost first; the caller closes them with `forgetMade` or removes them with `removeMade`. */
  readonly made: readonly MadeFolder[]
}

/**
 * Opens a folder, starting at the root, each name below the descriptor of the folder before. So the folder that was
 * checked is the folder that is used, also if another process renames things meanwhile. The walk follows symbolic links
 * by hand, and only those that the kernel would follow in a sticky folder. A guarded walk follows only links of root
 * and of this user.
 * @param path absolute
 * @throws FsError EPERM for a refused step, else the errno of the kernel: ENOENT, ENOTDIR, EACCES, ELOOP, EROFS,
 *   ENOSPC, … Nothing stays open or made then.
 */
export function walkTo(path: PathText, options: WalkOptions): Walked {
  const walker = new Walker(options)
  try {
    walker.go(path)
    return { fd: walker.fd, path: walker.path, made: walker.made }
  } catch (error) {
    closeSync(walker.fd)
    removeMade(walker.made)
    throw error
  }
}

/** Keeps the made folders and closes their descriptors. */
export function forgetMade(made: readonly MadeFolder[]): void {
  for (const { parent } of made) closeSync(parent)
}

/** Removes those made folders that are empty. Never throws. */
export function removeMade(made: readonly MadeFolder[]): void {
  for (const { parent, name } of made.toReversed()) {
    try {
      rmdirAt(parent, name)
    } catch {
      // It is not empty, or was moved: another process uses it, so it stays.
    }
    closeSync(parent)
  }
}

/** The name of one component, as system calls take it. */
export function nameOf(component: PathText): Name {
  return encodePath(component).toString('latin1')
}

class Walker {
  readonly made: MadeFolder[] = []
  readonly #options: WalkOptions
  fd = openSync('/', DIRECTORY)
  path: PathText = '/'
  #links = 0

  constructor(options: WalkOptions) {
    this.#options = options
  }

  go(path: PathText): void {
    for (const component of path.split('/')) {
      if (component === '' || component === '.') continue
      if (component === '..') this.#enter(openParent(this.fd), dirname(this.path))
      else this.#step(component)
    }
  }

  #step(component: PathText): void {
    this.#assertGuarded()
    const path = join(this.path, component)
    const name = nameOf(component)
    const fd = this.#open(name) ?? this.#make(name)
    const stat = fstatSync(fd)
    if (stat.isDirectory()) this.#enter(fd, path)
    else {
      try {
        if (!stat.isSymbolicLink()) throw new FsError('ENOTDIR', `${path} is not a directory`)
        this.#follow(path, stat.uid, decodePath(readlinkFd(fd)))
      } finally {
        closeSync(fd)
      }
    }
  }

  #follow(path: PathText, owner: number, target: PathText): void {
    if (++this.#links > MAX_SYMLINKS) throw new FsError('ELOOP', `${path}: too many symbolic links`)
    const isRefused = this.#options.guarded && !isTrustedOwner(owner)
    if (isRefused || !mayFollow(fstatSync(this.fd), { uid: owner })) {
      throw new FsError('EPERM', `${path} is a symbolic link of user ${owner}, who could lead it anywhere`)
    }
    if (target.startsWith('/')) this.#enter(openSync('/', DIRECTORY), '/')
    this.go(target)
  }

  #enter(fd: number, path: PathText): void {
    closeSync(this.fd)
    this.fd = fd
    this.path = path
  }

  /** @returns undefined where the name does not exist */
  #open(name: Name): number | undefined {
    // First as a directory: only that makes an automounter mount there.
    for (const flags of [DIRECTORY, O_PATH]) {
      try {
        return openAt(this.fd, name, flags)
      } catch (error) {
        const code = error instanceof FsError ? error.code : undefined
        if (code === 'ENOENT') return undefined
        if (flags === O_PATH || (code !== 'ENOTDIR' && code !== 'ELOOP')) throw error
      }
    }
    return undefined
  }

  #make(name: Name): number {
    const { make } = this.#options
    const path = join(this.path, decodePath(Buffer.from(name, 'latin1')))
    if (make === undefined) throw new FsError('ENOENT', `${path} does not exist`)
    try {
      mkdirAt(this.fd, name, make)
      this.made.push({ parent: duplicateDescriptor(this.fd), name })
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      // Another process made it first: use that one.
      if (error.code !== 'EEXIST') {
        throw new FsError(error.code, `${path} cannot be made: ${error.code}`, { cause: error })
      }
    }
    return openAt(this.fd, name, DIRECTORY)
  }

  #assertGuarded(): void {
    if (!this.#options.guarded) return
    const stat = fstatSync(this.fd)
    if (!isOpenToStrangers(stat)) return
    const who = isTrustedOwner(stat.uid) ? 'any user' : `user ${stat.uid}`
    throw new FsError(
      'EPERM',
      `${this.path} can be changed by ${who}, and root follows no path there: name a place that only root can change`,
    )
  }
}
