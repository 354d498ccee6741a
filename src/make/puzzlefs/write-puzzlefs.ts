import { hash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type BaseImage,
  Chunker,
  encodeRootfs,
  type NewChunk,
  type NewInode,
} from '../../../puzzlefs/write/index.ts'
import type { NewEntry } from '../../../squashfs/write/index.ts'
import { FsError, isDirectory, isRegular, type Name, omitUndefined } from '../../base/index.ts'
import { EMPTY_TYPE, hostPlatform, MANIFEST_TYPE } from '../../oci/index.ts'
import type { LayoutWriter } from '../../oci/write/index.ts'
import { fsVerityDigest } from '../../verity/index.ts'
import type { TreeItem } from '../tree-item.ts'
import { ChunkStore } from './chunk-store.ts'
import { type CollectedFile, collectTree, numberTree, sortedNames } from './collected-tree.ts'

const ROOTFS_TYPE = 'application/vnd.puzzlefs.image.rootfs.v1'
const VERITY_ANNOTATION = 'io.puzzlefsoci.puzzlefs.puzzlefs_verity_root_hash'

/** A tree that can be read twice. */
export interface ReadableTree {
  /** All names, a directory before what it holds. */
  readonly items: () => Iterable<TreeItem>
  /** Files with their content, by their paths and in this order. */
  readonly files: (paths: readonly Name[]) => Iterable<{ readonly path: Name; readonly entry: NewEntry }>
  /** Called once all is read, before the image gets its tag. */
  readonly beforeEnd?: () => void
}

export interface PuzzlefsOptions {
  /** Chunks in zstd's seekable format, where that makes them smaller. */
  readonly compress: boolean
  /** The image is built on this one: equal paths keep their numbers, and its metadata stay below the new ones. */
  readonly base?: BaseImage | undefined
  readonly signal?: AbortSignal | undefined
  /** Gets the bytes of files that were stored, and all bytes there are. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

/** An image that was made. */
export interface PuzzlefsImage {
  readonly manifestDigest: string
  /** fs-verity digest of the manifest, hex: what `puzzlefs mount -d` takes. */
  readonly fsVerity: string
  readonly inodes: number
  /** Bytes of all files. */
  readonly dataBytes: number
  readonly chunks: number
  /** Bytes of all chunks as they are stored. */
  readonly storedBytes: number
}

/**
 * Makes a PuzzleFS image of a tree, and gives it its tag when it is whole.
 * @throws FsError EIO for a file that changes meanwhile; ENOSPC, …; nothing of the image is left then
 */
export async function writePuzzlefs(
  tree: ReadableTree,
  output: LayoutWriter,
  tag: string,
  options: PuzzlefsOptions,
): Promise<PuzzlefsImage> {
  const { base } = options
  const { inodes, files, deleted } = numberTree(collectTree(tree.items()), base)
  const store = new ChunkStore(output, options.compress)
  const chunks = await storeFiles(tree, files, store, options)
  tree.beforeEnd?.()
  const live = inodes.map((file) => inodeOf(file, chunks.get(file), deleted.get(file)))
  const whiteouts = [...deleted.values()].flat().map(([, ino]) => ({ ...DELETED, ino }))
  const top = [...live, ...whiteouts].sort((one, other) => one.ino - other.ino)
  const below = base?.layers() ?? []
  const isKnown = below.some((layer) => isSame(layer, top))
  const rootfs = encodeRootfs({
    layers: isKnown ? below : [top, ...below],
    chunks: store.tableWith(base?.chunks() ?? []),
  })
  const digest = `sha256:${hash('sha256', rootfs, 'hex')}`
  output.store(rootfs, digest.slice('sha256:'.length))
  const config = { data: Buffer.from('{}').toString('base64'), ...output.document(EMPTY_TYPE, {}) }
  const annotations = { [VERITY_ANNOTATION]: fsVerityDigest(rootfs) }
  const document = {
    config,
    layers: [{ annotations, digest, mediaType: ROOTFS_TYPE, size: rootfs.length }, ...store.descriptors],
    schemaVersion: 2,
  }
  const manifest = output.document(MANIFEST_TYPE, document)
  const { os, architecture } = hostPlatform()
  output.publish(tag, { ...manifest, platform: { architecture, os } })
  return {
    manifestDigest: manifest.digest,
    fsVerity: fsVerityDigest(Buffer.from(JSON.stringify(document))),
    inodes: inodes.length,
    dataBytes: files.reduce((sum, { entry }) => sum + (entry.size ?? 0), 0),
    chunks: store.descriptors.length,
    storedBytes: store.descriptors.reduce((sum, { size }) => sum + size, 0),
  }
}

/** All files are one stream, which is cut by its content. @returns the pieces of each file */
async function storeFiles(
  tree: ReadableTree,
  files: readonly CollectedFile[],
  store: ChunkStore,
  { signal, onProgress }: PuzzlefsOptions,
): Promise<ReadonlyMap<CollectedFile, readonly NewChunk[]>> {
  const pieces = new Map<CollectedFile, NewChunk[]>(files.map((file) => [file, []]))
  const total = files.reduce((sum, { entry }) => sum + (entry.size ?? 0), 0)
  const chunker = new Chunker()
  // The file in which the next chunk begins, and how much of it earlier chunks have.
  let at = 0
  let used = 0
  let done = 0
  const take = async (chunks: Iterable<Uint8Array>): Promise<void> => {
    for (const chunk of chunks) {
      const { digest, compressed } = store.put(chunk)
      for (let offset = 0; offset < chunk.length; ) {
        const file = files[at]
        if (file === undefined) throw new FsError('EIO', 'files are larger than they were')
        const size = file.entry.size ?? 0
        const length = Math.min(size - used, chunk.length - offset)
        pieces.get(file)?.push({ digest, offset, length, compressed })
        offset += length
        used += length
        if (used < size) continue
        at += 1
        used = 0
      }
      done += chunk.length
      onProgress?.(done, total)
      signal?.throwIfAborted()
      await nextTurn()
    }
  }
  let index = 0
  for (const { path, entry } of tree.files(files.map((file) => file.path))) {
    const expected = files[index]?.entry.size ?? 0
    let length = 0
    for await (const bytes of entry.content ?? []) {
      length += bytes.length
      if (length > expected) break
      await take(chunker.push(bytes))
    }
    if (length !== expected) throw new FsError('EIO', `${JSON.stringify(path)} has changed while it was read`)
    index += 1
  }
  if (index !== files.length) throw new FsError('EIO', `${files.length - index} files are gone`)
  await take(chunker.finish())
  return pieces
}

const DELETED = { mode: 0, uid: 0, gid: 0, rdev: 0 } as const

function isSame(one: readonly NewInode[], other: readonly NewInode[]): boolean {
  const encode = (layer: readonly NewInode[]): Buffer => encodeRootfs({ layers: [layer], chunks: [] })
  return one.length === other.length && encode(one).equals(encode(other))
}

function inodeOf(
  file: CollectedFile,
  chunks: readonly NewChunk[] = [],
  deleted: readonly (readonly [Name, number])[] = [],
): NewInode {
  const { ino, entry } = file
  const { mode, uid, gid, rdev = 0, target, xattrs } = entry
  const inode = { ino, mode, uid, gid, rdev, ...omitUndefined({ target, xattrs }) }
  if (isRegular(mode)) return { ...inode, chunks }
  if (!isDirectory(mode)) return inode
  const names = sortedNames(file).map(([name, child]) => [name, child.ino] as const)
  return { ...inode, entries: [...deleted, ...names] }
}
