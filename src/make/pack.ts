import { createHash } from 'node:crypto'
import { fstatSync, readSync } from 'node:fs'
import {
  FileOutput,
  SquashfsWriter,
  type WriterOptions,
  type WrittenImage,
} from '../../squashfs/write/index.ts'
import type { PathText } from '../base/index.ts'
import { appendVerityData } from '../verity/index.ts'
import { CompressPool } from './compress-pool.ts'
import { decompressed } from './decompressed.ts'
import { hostTree } from './host-tree.ts'
import { newFile } from './new-file.ts'
import { tarTree, type Whiteouts } from './tar-tree.ts'
import type { LeftOut, TreeItem } from './tree-item.ts'

/** How a tree becomes an image. */
export interface PackOptions extends Omit<WriterOptions, 'compressor'> {
  /** Threads that compress; as many as there are CPUs if absent. The image does not depend on it. */
  readonly threads?: number
  /** Gives everything to user and group 0. */
  readonly allRoot?: boolean
  /** Seconds since 1970: later times become this one (`SOURCE_DATE_EPOCH`). */
  readonly latestTime?: number
  /** Appends a hash tree; `salt` is a hash of the image if absent. */
  readonly verity?: { readonly salt?: Uint8Array }
  readonly force?: boolean
  /** What whiteouts in a tar archive become; `none` if absent. */
  readonly whiteouts?: Whiteouts
  /** Ends the work with its reason. */
  readonly signal?: AbortSignal
  /** @param done bytes of files read so far */
  readonly onProgress?: (done: number) => void
}

export interface PackedImage extends WrittenImage, LeftOut {
  /** Bytes of the file, with padding and hash tree. */
  readonly size: number
  /** Hex. */
  readonly rootHash?: string
}

const CHUNK = 1 << 20

/** A directory of this machine, or a tar archive, also a compressed one. */
export type PackSource =
  | { readonly directory: PathText }
  | { readonly tar: AsyncIterable<Uint8Array>; readonly label: string }

/**
 * Packs a tree into a squashfs image. The same tree and the same options give the same bytes.
 * @throws FsError EEXIST, ENOTDIR, ENOENT, EACCES, ENOSPC, EIO; EINVAL, EOPNOTSUPP for the options and for an archive
 *   that is none
 */
export async function pack(source: PackSource, file: PathText, options: PackOptions): Promise<PackedImage> {
  const leftOut: LeftOut = { attributes: 0 }
  return await newFile(file, { force: options.force === true }, async (fd) => {
    const pool = new CompressPool(options, options.threads)
    try {
      const writer = new SquashfsWriter(new FileOutput(fd, file), {
        ...options,
        compressor: pool,
        ...(options.latestTime === undefined ? {} : { modTime: options.latestTime }),
      })
      let done = 0
      for await (const item of itemsOf(source, options, leftOut)) {
        options.signal?.throwIfAborted()
        await addTo(writer, item, options)
        if ('entry' in item) done += item.entry.size ?? 0
        options.onProgress?.(done)
      }
      const written = await writer.finish()
      options.signal?.throwIfAborted()
      const rootHash = options.verity && appendVerity(fd, options.verity)
      return { ...written, ...leftOut, size: fstatSync(fd).size, ...(rootHash !== undefined && { rootHash }) }
    } finally {
      await pool.close()
    }
  })
}

function itemsOf(
  source: PackSource,
  { whiteouts = 'none' }: PackOptions,
  leftOut: LeftOut,
): Iterable<TreeItem> | AsyncIterable<TreeItem> {
  if ('directory' in source) return hostTree(source.directory, leftOut)
  return tarTree(decompressed(source.tar, source.label), whiteouts, leftOut)
}

/** Bytes of all files of a tree, those with several names once. @throws FsError as `pack` */
export function sizeOfTree(directory: PathText): number {
  let size = 0
  for (const item of hostTree(directory, { attributes: 0 })) if ('entry' in item) size += item.entry.size ?? 0
  return size
}

async function addTo(writer: SquashfsWriter, item: TreeItem, options: PackOptions): Promise<void> {
  if ('link' in item) {
    writer.link(item.path, item.link)
    return
  }
  const { allRoot = false, latestTime = Infinity } = options
  const mtime = Math.min(item.entry.mtime, latestTime)
  const owners = allRoot ? { uid: 0, gid: 0 } : {}
  await writer.add(item.path, { ...item.entry, mtime, ...owners })
}

/** @returns the root hash, hex */
function appendVerity(fd: number, { salt }: { readonly salt?: Uint8Array }): string {
  const digest = digestOf(fd)
  return appendVerityData(fd, { salt: salt ?? digest, uuid: uuidOf(digest) }).rootHash
}

function digestOf(fd: number): Buffer {
  const hash = createHash('sha256')
  const chunk = Buffer.alloc(CHUNK)
  for (let at = 0; ; ) {
    const length = readSync(fd, chunk, 0, CHUNK, at)
    if (length === 0) return hash.digest()
    hash.update(chunk.subarray(0, length))
    at += length
  }
}

/** A UUID of version 8 (RFC 9562) whose bits come from a digest. */
function uuidOf(digest: Buffer): string {
  const bytes = Buffer.from(digest.subarray(0, 16))
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
