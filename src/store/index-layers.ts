import { closeSync, constants, fstatSync, fsyncSync, openSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { buildIndex, type WantedDigest } from '../../tar/index.ts'
import { FsError, type ImageFile, isErrno, omitUndefined, systemPath } from '../base/index.ts'
import type { Folder } from '../sys/files/folder.ts'
import { tryLock } from '../sys/files/lock.ts'
import { syncFolder } from '../sys/files/new-file.ts'
import { UnfinishedFile } from '../sys/files/unfinished-file.ts'
import { indexName, isArchive, openIndex } from './indexed-layer.ts'
import { makeLayerFolder, storePath } from './place.ts'

export interface IndexLayersOptions {
  /** Called before a layer is indexed. @param total bytes of its blob */
  readonly onLayer?: (position: number, count: number, total: number) => void
  /** @param done bytes of the blob */
  readonly onProgress?: (done: number) => void
  readonly signal?: AbortSignal | undefined
}

const MODE = 0o600
/** Between two looks at a lock that another process holds while it indexes the same layer. */
const PATIENCE_MS = 50

/**
 * Indexes those layers of an image that are archives and have no index in the store.
 * @returns how many were indexed
 * @throws FsError as `buildIndex`; EROFS, EACCES, ENOSPC, EPERM for the store. Nothing is left then
 */
export async function indexLayers(
  files: readonly ImageFile[],
  options: IndexLayersOptions = {},
): Promise<number> {
  const archives = new Map(files.filter(isArchive).map((file) => [file.label, file]))
  const missing = [...archives.values()].filter(({ label }) => !isIndexed(label))
  for (const [i, file] of missing.entries()) {
    await indexLayer(file, {
      ...options,
      onLayer: (_, __, total) => options.onLayer?.(i + 1, missing.length, total),
    })
  }
  return missing.length
}

function isIndexed(digest: string): boolean {
  const fd = openIndex(digest)
  if (fd !== undefined) closeSync(fd)
  return fd !== undefined
}

async function indexLayer(file: ImageFile, options: IndexLayersOptions): Promise<void> {
  const { algorithm, name } = indexName(file.label)
  const folder = storeFolder(algorithm)
  try {
    const lock = await takeLock(folder, `${name}.lock`, options.signal)
    try {
      // Somebody else has done it while this process waited.
      if (!isIndexed(file.label)) await writeIndex(file, folder, name, options)
    } finally {
      folder.remove(`${name}.lock`)
      closeSync(lock)
    }
  } finally {
    folder.close()
  }
}

function storeFolder(algorithm: string): Folder {
  try {
    return makeLayerFolder(algorithm)
  } catch (error) {
    if (!isErrno(error, 'EROFS', 'EACCES', 'ENOENT', 'ENOTDIR')) throw error
    const why = `${storePath()} cannot be written to (${error.code})`
    throw new FsError(
      error.code,
      `an index of the layers is needed, and the store ${why}: name another one with --store DIR`,
    )
  }
}

async function writeIndex(
  file: ImageFile,
  folder: Folder,
  name: string,
  { onLayer, onProgress, signal }: IndexLayersOptions,
): Promise<void> {
  const fd = file.open?.() ?? openSync(systemPath(file.path), 'r')
  try {
    const { offset = 0 } = file
    const size = file.length ?? fstatSync(fd).size - offset
    onLayer?.(1, 1, size)
    const diffId = file.diffId === undefined ? undefined : wanted(file.diffId)
    const output = UnfinishedFile.begin(folder.fd, name, MODE)
    try {
      const label = `layer ${file.label}`
      const blob = { fd, offset, size, digest: wanted(file.label), label, ...omitUndefined({ diffId }) }
      await buildIndex(blob, output.fd, omitUndefined({ onProgress, signal }))
      fsyncSync(output.fd)
      output.giveName(name, true)
      syncFolder(folder.fd)
    } finally {
      output.close()
    }
  } finally {
    closeSync(fd)
  }
}

function wanted(digest: string): WantedDigest {
  const [algorithm = '', hex = ''] = digest.split(':')
  return { algorithm, hex }
}

/** Waits for a process that indexes the same layer. @returns a descriptor that holds the lock */
async function takeLock(folder: Folder, name: string, signal?: AbortSignal): Promise<number> {
  for (;;) {
    signal?.throwIfAborted()
    const fd = folder.openFile(name, constants.O_RDWR | constants.O_CREAT, MODE)
    // The holder removes the file: who has locked one that is gone has locked nothing.
    if (tryLock(fd, 'exclusive') && folder.statOf(name)?.ino === fstatSync(fd).ino) return fd
    closeSync(fd)
    await pause(PATIENCE_MS)
  }
}
