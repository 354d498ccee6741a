import {
  type Entry,
  type ErrnoCode,
  type FileSystem,
  FsError,
  isDirectory,
  isRegular,
  isSymlink,
  type Mutable,
  type Name,
  type NodeId,
  type PathText,
  ROOT_NODE_ID,
} from '../../base/index.ts'
import { hasHostDirectories } from '../../molecule/index.ts'
import { type Listed, listDirectory } from '../listing.ts'
import type { Contents } from '../source-contents.ts'
import { childPath, refusalOf, textOf } from '../texts.ts'
import { readAttributes } from './attributes.ts'
import { type FileTask, FileWriter } from './file-writer.ts'
import { type Folder, makeFolder } from './folder.ts'
import { type FurtherName, HardLinks, type Outcome } from './hard-links.ts'
import type { Made, Manner } from './jobs.ts'
import { makeSpecial } from './make-special.ts'
import type { ExtractListener, ExtractReport } from './report.ts'
import { ALL, type Wanted, wantedBelow } from './selection.ts'

export interface ExtractionOptions extends ExtractListener {
  readonly manner: Manner
  readonly threads: number
}

/** A directory on the way down to what is extracted now. */
interface Level {
  readonly node: NodeId
  readonly name: Name
  readonly path: Name
  readonly wanted: Wanted | typeof ALL
  readonly listing: Iterator<Listed>
  /** Absent until something in it is wanted. */
  folder: Folder | undefined
}

/** Everything that follows would fail as well. */
const FATAL: readonly ErrnoCode[] = ['ENOSPC', 'EDQUOT', 'EROFS', 'EMFILE', 'ENFILE', 'ENOMEM']
/** Names between two chances for the rest of the program to run. */
const NAMES_A_STEP = 256

type Counts = Mutable<Omit<ExtractReport, 'owners'>>

/** One walk through a tree that makes the same on this machine. */
export class Extraction {
  readonly counts: Counts = {
    ...{ directories: 0, files: 0, hardLinks: 0, symlinks: 0, specials: 0, bytes: 0 },
    ...{ skippedDevices: 0, leftAttributes: 0, failures: 0 },
  }
  readonly #fileSystem: FileSystem
  readonly #options: ExtractionOptions
  readonly #root: Folder
  readonly #writer: FileWriter
  readonly #links: HardLinks
  readonly #total: number
  #names = 0
  /** What ended all. */
  #end: FsError | undefined

  constructor(contents: Contents, root: Folder, options: ExtractionOptions) {
    const { fileSystem, spec } = contents
    const { manner } = options
    this.#fileSystem = fileSystem
    this.#options = options
    this.#root = root
    this.#total = fileSystem.statfs().files
    this.#links = new HardLinks(root, manner.replaces, (further, outcome) => this.#linked(further, outcome))
    this.#writer = new FileWriter(contents, {
      manner,
      threads: hasHostDirectories(spec) ? 0 : options.threads,
      folders: root.open,
      onSettled: (task, outcome) => this.#settled(task, outcome),
    })
  }

  /** Walks through the tree. Between two steps the caller waits for room. @throws FsError that ends all */
  *walk(wanted: Wanted | typeof ALL): Generator<void> {
    const levels: Level[] = [this.#level(ROOT_NODE_ID, '', '', wanted, this.#root)]
    let names = 0
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const next = this.#next(level)
      if (next === undefined) {
        levels.pop()
        this.#leave(level)
        continue
      }
      const path = childPath(level.path, next.name)
      if ('error' in next) {
        this.fail(textOf(path), next.error)
        continue
      }
      const { nodeId, stat } = next.entry
      const isFolder = isDirectory(stat.mode)
      const wantedHere = wantedBelow(level.wanted, next.name, isFolder)
      if (wantedHere !== undefined && isFolder) {
        const below = this.#level(nodeId, next.name, path, wantedHere)
        // Also an empty directory; others are made when something in them is wanted.
        const isMade = wantedHere !== ALL || this.#folderOf([...levels, below]) !== undefined
        if (isMade && this.#mayEnter(path)) levels.push(below)
        else this.#fileSystem.forget(nodeId, 1)
      } else {
        if (wantedHere !== undefined) yield* this.#make(levels, next.name, path, next.entry)
        this.#fileSystem.forget(nodeId, 1)
      }
      names += 1
      if (names % NAMES_A_STEP === 0) yield
    }
  }

  /** Waits until more can be taken. @throws FsError that ends all */
  async room(): Promise<void> {
    await this.#writer.room()
  }

  /** Waits until all is made. @throws FsError that ends all */
  async finish(): Promise<void> {
    await this.#writer.finish()
  }

  /** Ends all, whatever is done. */
  async close(): Promise<void> {
    await this.#writer.close()
    this.#links.close()
    this.#root.open.closeAll()
  }

  /** Says that something could not be extracted. @throws FsError where nothing else could, either */
  fail(path: PathText, error: FsError): void {
    if (error === this.#end) throw error
    if (FATAL.includes(error.code)) {
      this.#end = new FsError(error.code, `${path} cannot be written: ${error.code}`, { cause: error })
      throw this.#end
    }
    this.counts.failures += 1
    this.#options.onFailure?.(path, error)
  }

  #mayEnter(path: Name): boolean {
    const refusal = refusalOf(path)
    if (refusal !== undefined) this.fail(textOf(path), refusal)
    return refusal === undefined
  }

  #level(node: NodeId, name: Name, path: Name, wanted: Level['wanted'], folder?: Folder): Level {
    return { node, name, path, wanted, listing: listDirectory(this.#fileSystem, node), folder }
  }

  #next(level: Level): Listed | undefined {
    try {
      const { done, value } = level.listing.next()
      return done === true ? undefined : value
    } catch (error) {
      this.#failed(level.path, error)
      return undefined
    }
  }

  /** All names of a directory were met. */
  #leave({ node, path, folder }: Level): void {
    if (folder !== undefined) {
      try {
        folder.attributes = readAttributes(this.#fileSystem, node, this.#fileSystem.getattr(node))
      } catch (error) {
        this.#failed(path, error)
      }
      this.#release(folder)
    }
    if (node !== ROOT_NODE_ID) this.#fileSystem.forget(node, 1)
  }

  /** Somebody needs the folder no more, which may have been the last thing that was made in the one above it. */
  #release(folder: Folder): void {
    for (let one: Folder | undefined = folder; one?.release() === true; one = one.parent) {
      try {
        this.counts.leftAttributes += one.finish(this.#options.manner.owners)
        this.counts.directories += 1
        this.#count()
      } catch (error) {
        this.#failed(one.path, error)
      } finally {
        one.close()
      }
    }
  }

  /** The folder of the last level, made with those above it. @returns undefined where that failed, which was said */
  #folderOf(levels: readonly Level[]): Folder | undefined {
    let parent = levels.at(-1)?.folder
    if (parent !== undefined) return parent
    for (const level of levels) {
      try {
        level.folder ??= parent && makeFolder(parent, level.name, level.path, this.#options.manner.replaces)
      } catch (error) {
        this.#failed(level.path, error)
        return undefined
      }
      if (level.folder === undefined) return undefined
      parent = level.folder
    }
    return parent
  }

  *#make(levels: readonly Level[], name: Name, path: Name, { nodeId, stat }: Entry): Generator<void> {
    const folder = this.#folderOf(levels)
    if (folder === undefined) return
    folder.hold()
    if (stat.nlink > 1 && !this.#links.meet(nodeId, stat.nlink, { folder, name })) return
    try {
      const attributes = readAttributes(this.#fileSystem, nodeId, stat)
      const task: FileTask = { node: nodeId, folder, name, path, attributes }
      if (isRegular(stat.mode)) yield* this.#writer.write(task)
      else this.#settled(task, this.#makeSpecial(task) ?? 'left out')
    } catch (error) {
      this.#failed(path, error)
      this.#done({ node: nodeId, folder }, 'failed')
    }
  }

  #makeSpecial({ node, folder, name, attributes }: FileTask): Made | undefined {
    const { mode } = attributes.stat
    const target = isSymlink(mode) ? this.#fileSystem.readlink(node) : undefined
    return makeSpecial(
      { folder: folder.fd, name, attributes, ...(target === undefined ? {} : { target }) },
      this.#options.manner,
    )
  }

  /** A file is made, or could not be. */
  #settled(task: FileTask, outcome: Made | 'left out' | FsError): void {
    const { mode, size } = task.attributes.stat
    if (outcome instanceof FsError) this.fail(textOf(task.path), outcome)
    else if (outcome === 'left out') this.counts.skippedDevices += 1
    else {
      this.counts.leftAttributes += outcome.left
      if (isRegular(mode)) {
        this.counts.files += 1
        this.counts.bytes += size
      } else if (isSymlink(mode)) this.counts.symlinks += 1
      else this.counts.specials += 1
    }
    this.#done(task, outcome instanceof FsError ? 'failed' : outcome)
  }

  #done({ node, folder }: Pick<FileTask, 'node' | 'folder'>, outcome: Outcome): void {
    this.#links.settle(node, outcome)
    this.#count()
    this.#release(folder)
  }

  #linked({ folder, name }: FurtherName, outcome: 'made' | 'left out' | FsError): void {
    if (outcome === 'made') this.counts.hardLinks += 1
    else if (outcome === 'left out') this.counts.skippedDevices += 1
    else this.#failed(childPath(folder.path, name), outcome)
    this.#count()
    this.#release(folder)
  }

  #count(): void {
    this.#names += 1
    this.#options.onProgress?.(this.#names, Math.max(this.#names, this.#total))
  }

  /** @throws what is no FsError */
  #failed(path: Name, error: unknown): void {
    if (!(error instanceof FsError)) throw error
    this.fail(textOf(path), error)
  }
}
