import { closeSync, constants, fstatSync, lstatSync, openSync, readSync } from 'node:fs'
import {
  codeOf,
  type ErrnoCode,
  FsError,
  isDirectory,
  isErrno,
  isRegular,
  isSymlink,
  type Name,
  type PathText,
  type Ref,
  systemPath,
  withFsError,
} from '../../base/index.ts'
import { O_PATH, openAt, readlinkFd } from '../../sys/files/at.ts'
import { listNames } from '../../sys/files/directory-entries.ts'
import { hostStat } from '../../sys/plain/host-stat.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import { CONFIG_LIMIT, FILE_VERSION, HEADER_SIZE, plainSize } from '../gocryptfs/layout.ts'
import { type FolderNode, MOST_NAMES } from './tree.ts'

/** Lies in the root of the folder, and is not shown. */
export const CONFIG_NAME = 'gocryptfs.conf'
/** Each is open while the folder is mounted. */
const MOST_FILES = 1000

const { O_DIRECTORY, O_NONBLOCK, O_RDONLY } = constants

/** An encrypted folder, without its key. */
export interface FolderSurvey {
  /** Of `gocryptfs.conf`. */
  readonly config: Buffer
  /** The root is the first; a directory stands before what is in it. */
  readonly nodes: readonly FolderNode[]
  /** Where the encrypted files lie that have content. */
  readonly files: readonly (readonly Name[])[]
}

/**
 * Looks at all names of a gocryptfs directory, which are in clear. It is opened step by step, and no symbolic link below
 * it is followed.
 * @throws FsError ENOENT, ENOTDIR, EACCES; EFBIG for more than can be shown
 */
export function surveyFolder(path: PathText): FolderSurvey {
  const root = openFolder(path)
  try {
    return new Surveyor(root, path).survey()
  } finally {
    closeSync(root)
  }
}

/** @returns a descriptor of an encrypted file; the caller closes it. @throws FsError also where it is none any more */
export function openFolderFile(path: PathText, names: readonly Name[]): number {
  const root = openFolder(path)
  try {
    return withFolder(root, names.slice(0, -1), (folder) => openRegular(folder, names.at(-1) ?? ''))
  } finally {
    closeSync(root)
  }
}

class Surveyor {
  readonly #root: number
  readonly #label: string
  readonly #nodes: FolderNode[] = []
  readonly #files: (readonly Name[])[] = []

  constructor(root: number, label: string) {
    this.#root = root
    this.#label = label
  }

  survey(): FolderSurvey {
    const config = this.#readConfig()
    const stats = withFsError(this.#label, () => fstatSync(this.#root, { bigint: true }))
    this.#nodes.push({ name: '', parent: 0, stat: hostStat(stats, 1) })
    const folders: { readonly ref: Ref; readonly names: readonly Name[] }[] = [{ ref: 0, names: [] }]
    for (const { ref, names } of folders) {
      const found = withFolder(this.#root, names, (folder) => this.#list(folder, ref, names))
      folders.push(...found)
    }
    return { config, nodes: this.#nodes, files: this.#files }
  }

  #list(folder: number, parent: Ref, above: readonly Name[]): { ref: Ref; names: readonly Name[] }[] {
    const folders: { ref: Ref; names: readonly Name[] }[] = []
    for (const name of listNames(folder, 'unnoticed').sort()) {
      if (parent === 0 && name === CONFIG_NAME) continue
      const names = [...above, name]
      const node = this.#look(folder, parent, names)
      if (node === undefined) continue
      const ref = this.#nodes.push(node) - 1
      if (this.#nodes.length > MOST_NAMES) throw this.#tooMuch(`${MOST_NAMES} names`)
      if (isDirectory(node.stat.mode)) folders.push({ ref, names })
    }
    return folders
  }

  #look(folder: number, parent: Ref, names: readonly Name[]): FolderNode | undefined {
    const name = names.at(-1) ?? ''
    const path = Buffer.from(`${descriptorPath(folder)}/${name}`, 'latin1')
    const stats = withFsError(this.#label, () => lstatSync(path, { bigint: true, throwIfNoEntry: false }))
    if (stats === undefined) return undefined
    const node = { name, parent, stat: hostStat(stats, this.#nodes.length + 1) }
    if (isSymlink(node.stat.mode)) return { ...node, target: linkIn(folder, name) }
    return isRegular(node.stat.mode) ? this.#file(folder, names, node) : node
  }

  #file(folder: number, names: readonly Name[], node: FolderNode): FolderNode {
    const size = plainSize(node.stat.size)
    const fault = size === undefined ? 'EIO' : size > 0 ? faultOf(folder, node.name) : undefined
    // Each name is a file of its own here.
    const stat = { ...node.stat, nlink: 1, size: size ?? 0 }
    if (fault !== undefined) return { ...node, stat, fault }
    if (stat.size === 0) return { ...node, stat }
    if (this.#files.length === MOST_FILES) throw this.#tooMuch(`${MOST_FILES} files`)
    return { ...node, stat, file: this.#files.push(names) - 1 }
  }

  #readConfig(): Buffer {
    let fd: number
    try {
      fd = openRegular(this.#root, CONFIG_NAME)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      const what = error.code === 'ENOENT' ? 'is no gocryptfs directory: it has no file' : `${error.code} of`
      throw new FsError(error.code, `${this.#label}: ${what} ${CONFIG_NAME}`, { cause: error })
    }
    try {
      const room = Buffer.alloc(CONFIG_LIMIT + 1)
      const length = withFsError(`${this.#label}: ${CONFIG_NAME}`, () =>
        readSync(fd, room, 0, room.length, 0),
      )
      if (length <= CONFIG_LIMIT) return room.subarray(0, length)
      throw new FsError('EIO', `${this.#label}: ${CONFIG_NAME} has more than ${CONFIG_LIMIT} bytes`)
    } finally {
      closeSync(fd)
    }
  }

  #tooMuch(what: string): FsError {
    return new FsError('EFBIG', `${this.#label}: more than ${what} in a gocryptfs directory cannot be shown`)
  }
}

/** Why a file cannot be decrypted, as far as that is known without the key. */
function faultOf(folder: number, name: Name): ErrnoCode | undefined {
  let fd: number
  try {
    fd = openRegular(folder, name)
  } catch (error) {
    return isErrno(error, 'EACCES', 'EPERM') ? 'EACCES' : 'EIO'
  }
  try {
    const header = Buffer.alloc(HEADER_SIZE)
    const length = readSync(fd, header, 0, HEADER_SIZE, 0)
    return length === HEADER_SIZE && header.readUInt16BE() === FILE_VERSION ? undefined : 'EIO'
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return 'EIO'
  } finally {
    closeSync(fd)
  }
}

function openFolder(path: PathText): number {
  return withFsError(path, () => openSync(systemPath(path), O_PATH | O_DIRECTORY))
}

/** @throws FsError EIO for anything but a regular file */
function openRegular(folder: number, name: Name): number {
  const fd = openAt(folder, name, O_RDONLY | O_NONBLOCK)
  if (fstatSync(fd).isFile()) return fd
  closeSync(fd)
  throw new FsError('EIO', `${name}: is not a regular file`)
}

function linkIn(folder: number, name: Name): Name {
  const fd = openAt(folder, name, O_PATH)
  try {
    return Buffer.from(readlinkFd(fd)).toString('latin1')
  } finally {
    closeSync(fd)
  }
}

/** Opens a folder name by name, for one piece of work. */
function withFolder<T>(root: number, names: readonly Name[], work: (folder: number) => T): T {
  let folder = root
  try {
    for (const name of names) {
      const next = openAt(folder, name, O_PATH | O_DIRECTORY)
      if (folder !== root) closeSync(folder)
      folder = next
    }
    return work(folder)
  } finally {
    if (folder !== root) closeSync(folder)
  }
}
