import { closeSync, constants, fstatSync } from 'node:fs'
import { readTrailer } from '../../tar/format/trailer.ts'
import { readIndexHeader } from '../../tar/index.ts'
import { FsError, messageOf, type PathText } from '../base/index.ts'
import { FileSource } from '../sys/files/file-source.ts'
import type { Folder } from '../sys/files/folder.ts'
import { tryLock } from '../sys/files/lock.ts'
import { openVerity, verifyRange } from '../verity/index.ts'
import { findLayerFolder, storePath } from './place.ts'
import { type NameParts, readName } from './stored-name.ts'
import { isPresentVersion, versionOf } from './version.ts'

/** Those that digests of images have. */
const ALGORITHMS = ['sha256', 'sha512']
/** What is there while something is made of a layer. */
const UNFINISHED = /\.(?:idx|squashfs)\.lock$|\.part$/
const READ = constants.O_RDONLY | constants.O_NONBLOCK

/** One file of the store. */
export interface StoredLayer {
  /** Of an index, that of the blob; of an image, that of the archive without compression. */
  readonly digest: string
  /** Name of the image kind that reads it: an index is `tar`. */
  readonly kind: NameParts['kind']
  /** It is fit for certain layers below alone. */
  readonly dependsOnBelow: boolean
  /** Bytes. */
  readonly size: number
  /** Of an index: bytes of the blob, and files in it. Absent where it cannot be read. */
  readonly blobSize?: number
  readonly files?: number
  /** Why it cannot be used. */
  readonly damage?: string
}

/**
 * The files of the store, in the order of their digests.
 * @param whole compares all of each with its root hash, not only what is needed to say what it is
 * @throws FsError EPERM, EACCES for the store
 */
export function listStore(whole = false): readonly StoredLayer[] {
  return inFolders((folder, algorithm) =>
    [...folder.names()].sort().flatMap((name) => {
      const parts = readName(name)
      return parts === undefined ? [] : [look(folder, name, algorithm, parts, whole)]
    }),
  ).flat()
}

/** Removes what was made of a layer; mounts that use it keep it to their end. @returns false where there is nothing */
export function removeStored(digest: string): boolean {
  const [wanted, hex] = digest.split(':')
  return inFolders((folder, algorithm) => {
    const names = folder.names().filter((name) => algorithm === wanted && readName(name)?.hex === hex)
    for (const name of names) folder.remove(name)
    return names.length > 0
  }).includes(true)
}

/**
 * Removes what is of no use: what processes left that were killed while they made something, and files that are damaged or
 * of another version.
 * @returns the names of the files
 */
export function collectStore(): readonly PathText[] {
  return inFolders((folder, algorithm) => {
    const removed: PathText[] = []
    for (const name of folder.names()) {
      const parts = readName(name)
      const isWaste =
        parts === undefined
          ? UNFINISHED.test(name) && !isLocked(folder, name)
          : look(folder, name, algorithm, parts, true).damage !== undefined
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

/**
 * Whether a process works at a file: it holds the lock of the layer. A file without a lock belongs to one that has ended.
 * A layer of which an image is made is locked by the name of its index: while any is, unnamed images stay.
 */
function isLocked(folder: Folder, name: PathText): boolean {
  if (name.endsWith('.lock')) return isHeld(folder, name)
  return folder.names().some((one) => one.endsWith('.lock') && isHeld(folder, one))
}

function isHeld(folder: Folder, lock: PathText): boolean {
  if (folder.statOf(lock) === undefined) return false
  const fd = folder.openFile(lock, READ)
  try {
    return !tryLock(fd, 'shared')
  } finally {
    closeSync(fd)
  }
}

function look(
  folder: Folder,
  name: PathText,
  algorithm: string,
  { hex, kind, chain }: NameParts,
  whole: boolean,
): StoredLayer {
  const digest = `${algorithm}:${hex}`
  const fd = folder.openFile(name, READ)
  const { size } = fstatSync(fd)
  const source = new FileSource(fd, digest, size)
  const known = { digest, kind, dependsOnBelow: chain !== undefined, size }
  try {
    const trailer = readTrailer(fd, digest)
    const { rootHash, dataLength, version } = trailer
    if (!isPresentVersion(kind, trailer)) {
      throw new FsError('EINVAL', `version ${version}, only ${versionOf(kind)} is known`)
    }
    const verified = openVerity({ source, rootHash, dataLength: () => dataLength })
    const header = kind === 'tar' ? readIndexHeader(verified) : undefined
    if (header !== undefined && header.digest !== digest) {
      throw new FsError('EIO', `the index of ${header.digest}`)
    }
    const bad = whole ? verifyRange({ source, table: verified.table, from: 0, listLimit: 1 }).badBlocks : 0
    const facts = header === undefined ? {} : { blobSize: header.blobSize, files: header.inodeCount }
    const damage = bad === 0 ? {} : { damage: `${bad} blocks do not match the root hash` }
    return { ...known, ...facts, ...damage }
  } catch (error) {
    if (!(error instanceof FsError)) throw error
    return { ...known, damage: messageOf(error) }
  } finally {
    source.close()
    closeSync(fd)
  }
}
