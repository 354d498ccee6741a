import { createHash } from 'node:crypto'
import { fstatSync, readSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type BlockCompressor,
  FileOutput,
  SquashfsWriter,
  type WriterOptions,
  type WrittenImage,
} from '../../squashfs/write/index.ts'
import type { PathText } from '../base/index.ts'
import { appendVerityData } from '../verity/index.ts'
import { type OwnerOptions, withOwners } from './selection/owners.ts'
import type { LeftOut, TreeItem, TreeItems } from './tree-item.ts'

/** How the items of a tree become an image. */
export interface ImageOptions extends Omit<WriterOptions, 'compressor'>, OwnerOptions {
  /** Threads that compress; as many as there are CPUs if absent. The image does not depend on it. */
  readonly threads?: number
  /** Seconds since 1970: later times become this one (`SOURCE_DATE_EPOCH`). */
  readonly latestTime?: number
  /** Appends a hash tree; `salt` is a hash of the image if absent. */
  readonly verity?: { readonly salt?: Uint8Array }
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

/** An empty file that becomes an image. */
export interface ImagePlace {
  /** Open for reading and writing; stays the caller's. */
  readonly fd: number
  /** For messages. */
  readonly label: PathText
}

/** Gets the writer, in which the items that were given so far can be looked up. */
export type TreeItemsOf = (writer: SquashfsWriter) => TreeItems

const CHUNK = 1 << 20

/**
 * Writes an image of the items of a tree.
 * @param leftOut counted by `itemsOf`
 * @throws FsError as `SquashfsWriter`, and what `itemsOf` throws
 */
export async function writeImage(
  { fd, label }: ImagePlace,
  compressor: BlockCompressor,
  itemsOf: TreeItemsOf,
  leftOut: LeftOut,
  options: ImageOptions,
): Promise<PackedImage> {
  const output = new FileOutput(fd, label, options.verity !== undefined)
  const writer = new SquashfsWriter(output, {
    ...options,
    compressor,
    ...(options.latestTime === undefined ? {} : { modTime: options.latestTime }),
  })
  let done = 0
  let names = 0
  for await (const item of itemsOf(writer)) {
    // Where nothing is waited for, no signal would come.
    if (++names % NAMES_PER_TURN === 0) await nextTurn()
    options.signal?.throwIfAborted()
    await addTo(writer, item, options, (part) => options.onProgress?.(done + part))
    if ('entry' in item) done += item.entry.size ?? 0
    options.onProgress?.(done)
  }
  const written = await writer.finish()
  options.signal?.throwIfAborted()
  const digest = output.digest()
  const rootHash = digest && appendVerity(fd, digest, options.verity?.salt)
  return { ...written, ...leftOut, size: fstatSync(fd).size, ...(rootHash !== undefined && { rootHash }) }
}

/** @param onPart gets the bytes of a large file that were read so far */
async function addTo(
  writer: SquashfsWriter,
  item: TreeItem,
  options: ImageOptions,
  onPart: (part: number) => void,
): Promise<void> {
  if ('link' in item) {
    writer.link(item.path, item.link)
    return
  }
  if ('attribute' in item) {
    writer.addAttribute(item.path, item.attribute)
    return
  }
  const { latestTime = Infinity, signal } = options
  const owned = withOwners(item.path, item.entry, options)
  const { content, size = 0 } = owned
  const isShort = content === undefined || size < BYTES_PER_TURN
  const entry = isShort ? owned : { ...owned, content: interruptible(content, signal, onPart) }
  await writer.add(item.path, entry.mtime > latestTime ? { ...entry, mtime: latestTime } : entry)
}

/** Between two looks at signals and timers, which a file of holes, where nothing is waited for, would keep away. */
const BYTES_PER_TURN = 64 << 20
/** Likewise, of files without content. */
const NAMES_PER_TURN = 1024

/** The same content, which ends with the reason of `signal`. */
async function* interruptible(
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal | undefined,
  onPart: (part: number) => void,
): AsyncGenerator<Uint8Array> {
  let part = 0
  let turn = BYTES_PER_TURN
  for await (const chunk of content) {
    yield chunk
    part += chunk.length
    if (part < turn) continue
    turn = part + BYTES_PER_TURN
    onPart(part)
    await nextTurn()
    signal?.throwIfAborted()
  }
}

/**
 * Appends a hash tree to an image.
 * @param digest of the image
 * @param dataLength bytes of the image; the size of the file if absent
 * @returns the root hash, hex
 */
export function appendVerity(
  fd: number,
  digest: Buffer,
  salt: Uint8Array | undefined,
  dataLength?: number,
): string {
  const length = dataLength === undefined ? {} : { dataLength }
  return appendVerityData(fd, { salt: salt ?? digest, uuid: uuidOf(digest), ...length }).rootHash
}

/** SHA-256 of all bytes of a file. @param fd open for reading */
export function sha256OfFile(fd: number): Buffer {
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
