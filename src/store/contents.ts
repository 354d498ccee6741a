import { closeSync, constants, fstatSync } from 'node:fs'
import { readTrailer } from '../../tar/format/trailer.ts'
import { readIndexHeader } from '../../tar/index.ts'
import { type ByteSource, FsError, messageOf, type PathText } from '../base/index.ts'
import { FileSource } from '../sys/files/file-source.ts'
import type { Folder } from '../sys/files/folder.ts'
import { tryLock } from '../sys/files/lock.ts'
import { openVerity, verifyRange } from '../verity/index.ts'
import { indexName } from './indexed-layer.ts'
import { findLayerFolder, storePath } from './place.ts'

/** Those that digests of images have. */
const ALGORITHMS = ['sha256', 'sha512']
const INDEX = /^([0-9a-f]+)\.idx$/
/** What is there while an index is made. */
const UNFINISHED = /\.idx\.lock$|\.part$/
const READ = constants.O_RDONLY | constants.O_NONBLOCK

/** One index of the store. */
export interface StoredIndex {
  /** Of the blob. */
  readonly digest: string
  /** Bytes of the index. */
  readonly size: number
  /** Bytes of the blob; absent where the index cannot be read. */
  readonly blobSize?: number
  readonly files?: number
  /** Why it cannot be used. */
  readonly damage?: string
}

/**
 * The indexes of the store, in the order of their digests.
 * @param whole compares all of each index with its root hash, not only what is needed to say what it is
 * @throws FsError EPERM, EACCES for the store
 */
export function listStore(whole = false): readonly StoredIndex[] {
  return inFolders((folder, algorithm) =>
    folder
      .names()
      .map((name) => INDEX.exec(name)?.[1])
      .filter((hex) => hex !== undefined)
      .sort()
      .map((hex) => look(folder, `${algorithm}:${hex}`, whole)),
  ).flat()
}

/** Removes the index of a blob; mounts that use it keep it to their end. @returns false where there is none */
export function removeIndex(digest: string): boolean {
  const { algorithm, name } = indexName(digest)
  const folder = findLayerFolder(algorithm)
  try {
    if (folder?.statOf(name) === undefined) return false
    folder.remove(name)
    return true
  } finally {
    folder?.close()
  }
}

/**
 * Removes what is of no use: what processes left that were killed while they made an index, and indexes that are damaged or
 * of another version.
 * @returns the names of the files
 */
export function collectStore(): readonly PathText[] {
  return inFolders((folder, algorithm) => {
    const removed: PathText[] = []
    for (const name of folder.names()) {
      const hex = INDEX.exec(name)?.[1]
      const isWaste =
        hex === undefined
          ? UNFINISHED.test(name) && !isLocked(folder, name)
          : look(folder, `${algorithm}:${hex}`, true).damage !== undefined
      if (!isWaste) continue
      folder.remove(name)
      removed.push(folder.pathOf(name))
    }
    return removed
  }).flat()
}

function inFolders<T>(work: (folder: Folder, algorithm: string) => T): T[] {
  return ALGORITHMS.flatMap((algorithm) => {
    const folder = findLayerFolder(algorithm, storePath())
    if (folder === undefined) return []
    try {
      return [work(folder, algorithm)]
    } finally {
      folder.close()
    }
  })
}

/** Whether a process works at an index: it holds the lock of it. A file without a lock belongs to one that has ended. */
function isLocked(folder: Folder, name: PathText): boolean {
  const lock = name.endsWith('.lock') ? name : `${/^\.([0-9a-f]+\.idx)\./.exec(name)?.[1] ?? name}.lock`
  if (folder.statOf(lock) === undefined) return false
  const fd = folder.openFile(lock, READ)
  try {
    return !tryLock(fd, 'shared')
  } finally {
    closeSync(fd)
  }
}

function look(folder: Folder, digest: string, whole: boolean): StoredIndex {
  const { name } = indexName(digest)
  const fd = folder.openFile(name, READ)
  const { size } = fstatSync(fd)
  const source = new FileSource(fd, digest, size)
  try {
    const rootHash = readTrailer(fd, digest)
    const dataLength = (one: ByteSource): number => readIndexHeader(one).size
    const verified = openVerity({ source, rootHash, dataLength })
    const header = readIndexHeader(verified)
    if (header.digest !== digest) throw new FsError('EIO', `the index of ${header.digest}`)
    const bad = whole ? verifyRange({ source, table: verified.table, from: 0, listLimit: 1 }).badBlocks : 0
    const facts = { digest, size, blobSize: header.blobSize, files: header.inodeCount }
    return bad === 0 ? facts : { ...facts, damage: `${bad} blocks do not match the root hash` }
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    return { digest, size, damage: messageOf(error) }
  } finally {
    source.close()
    closeSync(fd)
  }
}
