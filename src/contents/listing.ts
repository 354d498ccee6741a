import {
  type DirectorySink,
  type Entry,
  type FileSystem,
  FsError,
  type Name,
  type NodeId,
} from '../base/index.ts'

/** One name of a directory. Its entry counts as one lookup, which the receiver takes back with `forget`. */
export type Listed =
  | { readonly name: Name; readonly entry: Entry }
  /** What is under the name cannot be read. */
  | { readonly name: Name; readonly error: FsError }

/** Names that one call lists. */
const PAGE = 256

/**
 * The names of a directory without `.` and `..`, in the order of the file system. Of a large directory only a part is
 * held.
 * @throws FsError EIO where the directory is damaged; its names so far were given
 */
export function* listDirectory(fileSystem: FileSystem, directory: NodeId): Generator<Listed> {
  for (let cookie: number | undefined = 0; cookie !== undefined; ) {
    const page: Page = new Page(true)
    fileSystem.readdir(directory, cookie, page)
    cookie = page.last
    for (const { name, entry } of page.names) {
      yield entry === undefined ? lookupAgain(fileSystem, directory, name) : { name, entry }
    }
  }
}

/** All names of a directory, without a look at what is under them. @throws FsError EIO */
export function* listNames(fileSystem: FileSystem, directory: NodeId): Generator<Name> {
  for (let cookie: number | undefined = 0; cookie !== undefined; ) {
    const page: Page = new Page(false)
    fileSystem.readdir(directory, cookie, page)
    cookie = page.last
    for (const { name } of page.names) yield name
  }
}

/** Finds out why a name was listed without an entry. */
export function lookupAgain(fileSystem: FileSystem, directory: NodeId, name: Name): Listed {
  try {
    const entry = fileSystem.lookup(directory, name)
    if (entry !== undefined) return { name, entry }
    return { name, error: new FsError('EIO', 'listed in its directory, but not found there') }
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    return { name, error }
  }
}

class Page implements DirectorySink {
  readonly plus: boolean
  readonly names: { readonly name: Name; readonly entry: Entry | undefined }[] = []
  /** Where to go on after it; undefined where there was nothing left. */
  last: number | undefined

  constructor(plus: boolean) {
    this.plus = plus
  }

  add(name: Name, _ino: number, _type: number, cookie: number, entry: Entry | undefined): boolean {
    if (this.names.length >= PAGE) return false
    this.last = cookie
    if (name !== '.' && name !== '..') this.names.push({ name, entry })
    return true
  }
}
