import { type FileSystem, FsError, isErrno, type Name, type NodeId } from '../../base/index.ts'
import type { OpenDirectories } from '../../sys/files/open-directories.ts'
import type { UnfinishedFile } from '../../sys/files/unfinished-file.ts'
import type { Contents } from '../source-contents.ts'
import type { FileAttributes } from './attributes.ts'
import { DataWriter } from './data-writer.ts'
import type { Folder } from './folder.ts'
import type { Made, Manner, PartJob, WriteJob, WriteResult } from './jobs.ts'
import { beginFile, finishFile } from './make-file.ts'
import { PieceList } from './pieces.ts'
import { WritePool } from './write-pool.ts'

/** A file that is to be made. */
export interface FileTask {
  readonly node: NodeId
  readonly folder: Folder
  readonly name: Name
  /** For messages. */
  readonly path: Name
  readonly attributes: FileAttributes
}

/** Files up to this size go to one thread as a whole; of larger ones each thread writes parts of this size, bytes. */
const PART = 4 << 20
/** One list of jobs has so many, or so many bytes. */
const JOBS_A_LIST = 64
const BYTES_A_LIST = 1 << 20

/** A file in parts. */
interface LargeFile {
  readonly task: FileTask
  readonly file: UnfinishedFile
  /** Parts under way, and one more until all are known. */
  parts: number
  error: FsError | undefined
}

export interface FileWriterOptions {
  readonly manner: Manner
  /** 0: this thread does all. */
  readonly threads: number
  /** The directories that are open. */
  readonly folders: OpenDirectories
  /** Called once for each file, with the error where it could not be made. */
  readonly onSettled: (task: FileTask, outcome: Made | FsError) => void
}

/** Makes regular files, with other threads where there are some. */
export class FileWriter {
  readonly #fileSystem: FileSystem
  readonly #options: FileWriterOptions
  readonly #pool: WritePool | undefined
  /** Writes in this thread. */
  readonly #data: DataWriter | undefined
  readonly #tasks = new Map<number, FileTask | LargeFile>()
  #jobs: WriteJob[] = []
  #bytes = 0
  #lastId = 0

  constructor({ fileSystem, spec, store, blobs }: Contents, options: FileWriterOptions) {
    const { threads, manner } = options
    this.#fileSystem = fileSystem
    this.#options = options
    if (threads === 0) this.#data = new DataWriter(store)
    else {
      const onResult = (result: WriteResult): void => this.#settle(result)
      this.#pool = new WritePool(threads, { spec, manner }, { blobs, onResult })
    }
  }

  /** Takes a file. It yields where the caller has to wait for room. @throws FsError EIO; the file is not settled then */
  *write(task: FileTask): Generator<void> {
    const { size } = task.attributes.stat
    if (size > PART || this.#pool === undefined) {
      yield* this.#writeParts(task)
      return
    }
    const pieces = new PieceList()
    if (size > 0) this.#fileSystem.read(task.node, 0, size, pieces)
    const { name, attributes } = task
    const id = this.#register(task)
    yield* this.#add({ id, folder: task.folder.fd, name, attributes, pieces: pieces.take() }, size)
  }

  /** Waits until more can be taken: a list of jobs, and directories that stay open for it. @throws the error of a thread */
  async room(): Promise<void> {
    const { folders } = this.#options
    await this.#pool?.room()
    if (!folders.isFull) return
    this.#flush()
    await this.#pool?.until(() => !folders.isFull)
    await this.#pool?.room()
  }

  /** Waits until all files are settled. @throws the error of a thread, or of `onSettled` */
  async finish(): Promise<void> {
    await this.#pool?.room()
    this.#flush()
    await this.#pool?.idle()
  }

  /** Ends all. Files that are not whole are gone. */
  async close(): Promise<void> {
    await this.#pool?.close()
    for (const task of this.#tasks.values()) if ('file' in task) task.file.close()
  }

  *#writeParts(task: FileTask): Generator<void> {
    const { size } = task.attributes.stat
    const file = beginFile({ ...task, folder: task.folder.fd })
    const large: LargeFile = { task, file, parts: 1, error: undefined }
    const id = this.#register(large)
    try {
      for (let at = this.#dataFrom(task.node, 0, size); at < size; at = this.#dataFrom(task.node, at, size)) {
        const length = Math.min(PART - (at % PART), size - at)
        if (this.#data !== undefined) {
          this.#data.write(file.fd, (sink) => this.#fileSystem.read(task.node, at, length, sink), at)
          yield
        } else {
          const pieces = new PieceList()
          this.#fileSystem.read(task.node, at, length, pieces)
          large.parts += 1
          const part: PartJob = { id, fd: file.fd, offset: at, pieces: pieces.take() }
          yield* this.#add(part, length)
        }
        at += length
      }
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      large.error ??= error
    }
    this.#partDone(id, large)
  }

  /** Start of the next data; the end of the file where there are none. */
  #dataFrom(node: NodeId, offset: number, size: number): number {
    if (offset >= size) return size
    try {
      return this.#fileSystem.seek(node, offset, 'data')
    } catch (error) {
      if (isErrno(error, 'ENXIO')) return size
      throw error
    }
  }

  #register(task: FileTask | LargeFile): number {
    const { folder } = 'file' in task ? task.task : task
    folder.pin()
    this.#lastId += 1
    this.#tasks.set(this.#lastId, task)
    return this.#lastId
  }

  *#add(job: WriteJob, bytes: number): Generator<void> {
    this.#jobs.push(job)
    this.#bytes += bytes
    const isFull = this.#jobs.length >= JOBS_A_LIST || this.#bytes >= BYTES_A_LIST
    if (!isFull && !this.#options.folders.isFull) return
    yield
    this.#flush()
  }

  #flush(): void {
    if (this.#jobs.length > 0) this.#pool?.send(this.#jobs)
    this.#jobs = []
    this.#bytes = 0
  }

  #settle({ id, made, failure }: WriteResult): void {
    const task = this.#tasks.get(id)
    if (task === undefined) return
    const error = failure && new FsError(failure.code, failure.message)
    if ('file' in task) {
      task.error ??= error
      this.#partDone(id, task)
      return
    }
    this.#tasks.delete(id)
    task.folder.unpin()
    this.#options.onSettled(task, made ?? error ?? new FsError('EIO', 'was neither made nor refused'))
  }

  #partDone(id: number, large: LargeFile): void {
    large.parts -= 1
    if (large.parts > 0) return
    this.#tasks.delete(id)
    const { task, file } = large
    let outcome: Made | FsError
    try {
      const what = { ...task, folder: task.folder.fd }
      outcome = large.error ?? finishFile(file, what, this.#options.manner, 0)
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      outcome = error
    } finally {
      file.close()
      task.folder.unpin()
    }
    this.#options.onSettled(task, outcome)
  }
}
