import { fstatSync, writeSync } from 'node:fs'
import { generateSquashfsMediaType, readSuperblock } from '../../../squashfs/index.ts'
import type { BlockCompressor } from '../../../squashfs/write/index.ts'
import { FsError, isErrno, withFsError } from '../../base/index.ts'
import { type Descriptor, ROOT_HASH_ANNOTATIONS } from '../../oci/index.ts'
import type { LayoutWriter } from '../../oci/write/index.ts'
import { FileSource } from '../../sys/files/file-source.ts'
import type { UnfinishedFile } from '../../sys/files/unfinished-file.ts'
import { openVerity, rootHashOfTree, verifyRange } from '../../verity/index.ts'
import { type LeftOut, nothingLeftOut } from '../tree-item.ts'
import {
  appendVerity,
  type ImageOptions,
  type PackedImage,
  sha256OfFile,
  type TreeItemsOf,
  writeImage,
} from '../write-image.ts'
import { HashedStream } from './hashed-stream.ts'
import type { SourceLayer, SquashfsLayer } from './source-image.ts'

/** A layer that is new in the layout. */
export interface NewLayer {
  readonly descriptor: Descriptor
  /** Its bytes, which the writer of the layout keeps. */
  readonly file: UnfinishedFile
  /** What was lost on the way; absent for a copy. */
  readonly image?: PackedImage
}

/** What a layer goes into. */
export interface LayerPlace {
  readonly output: LayoutWriter
  readonly compressor: () => BlockCompressor
  readonly options: ImageOptions
}

/** Makes a layer of the items of a tree. @param annotationsOf called when all items have come */
export async function packLayer(
  label: string,
  { output, compressor, options }: LayerPlace,
  itemsOf: (leftOut: LeftOut) => TreeItemsOf,
  annotationsOf: () => Readonly<Record<string, string>> = () => ({}),
): Promise<NewLayer> {
  const leftOut = nothingLeftOut()
  return await withBlob(output, async (file) => {
    const place = { fd: file.fd, label }
    const image = await writeImage(place, compressor(), itemsOf(leftOut), leftOut, options)
    const annotations = { ...rootHashAnnotation(image.rootHash), ...annotationsOf() }
    const mediaType = generateSquashfsMediaType(options.name)
    return { image, mediaType, annotations, hex: sha256OfFile(file.fd).toString('hex') }
  })
}

/**
 * Copies a squashfs layer byte for byte. One that is a file by itself gets a hash tree if it has none.
 * @throws FsError EIO where the bytes are not those of the layer
 */
export async function copyLayer(
  layer: SquashfsLayer,
  { output, options }: LayerPlace,
  onProgress: (done: number) => void,
): Promise<NewLayer> {
  const { digest, size, descriptor } = layer
  return await withBlob(output, async (file) => {
    const blob = new HashedStream(layer.open(), { digest, size }, onProgress)
    let at = 0
    for await (const chunk of blob) {
      options.signal?.throwIfAborted()
      at += writeAll(file.fd, chunk, at, layer.label)
    }
    await blob.check('blob')
    const { mediaType, annotations } = descriptor ?? describeImage(file.fd, layer.label, options)
    const hex = digest?.algorithm === 'sha256' ? digest.hex : sha256OfFile(file.fd).toString('hex')
    return { mediaType, annotations: annotations ?? {}, hex }
  })
}

async function withBlob(
  output: LayoutWriter,
  fill: (file: UnfinishedFile) => Promise<{
    readonly mediaType: string
    readonly annotations: Readonly<Record<string, string>>
    readonly hex: string
    readonly image?: PackedImage
  }>,
): Promise<NewLayer> {
  const file = output.begin()
  try {
    const { mediaType, annotations, hex, image } = await fill(file)
    const { size } = fstatSync(file.fd)
    const named = Object.keys(annotations).length === 0 ? {} : { annotations }
    const descriptor = { mediaType, digest: `sha256:${hex}`, size, ...named }
    output.keep(file, hex)
    return { descriptor, file, ...(image && { image }) }
  } catch (error) {
    file.close()
    throw error
  }
}

/** What a manifest says of an image file that came without one. */
function describeImage(
  fd: number,
  label: string,
  { verity }: ImageOptions,
): Pick<Descriptor, 'mediaType' | 'annotations'> {
  const source = new FileSource(fd, label)
  const { compressor, bytesUsed } = readSuperblock(source)
  const dataLength = bytesUsed
  const present = rootHashOfTree(source, dataLength)
  if (present !== undefined) {
    const { table } = openVerity({ source, rootHash: present, dataLength })
    const { badBlocks } = verifyRange({ source, table, listLimit: 1 })
    if (badBlocks > 0) throw new FsError('EIO', `${badBlocks} blocks do not match the hash tree of the image`)
  }
  const rootHash = present ?? (verity && appendVerity(fd, sha256OfFile(fd), verity.salt, dataLength))
  return { mediaType: generateSquashfsMediaType(compressor), annotations: rootHashAnnotation(rootHash) }
}

function rootHashAnnotation(rootHash: string | undefined): Record<string, string> {
  return rootHash === undefined ? {} : { [ROOT_HASH_ANNOTATIONS[0]]: rootHash }
}

function writeAll(fd: number, bytes: Uint8Array, position: number, label: string): number {
  return withFsError(label, () => {
    let done = 0
    while (done < bytes.length) done += writeSync(fd, bytes, done, bytes.length - done, position + done)
    return done
  })
}

/**
 * Puts the layer before the message of what went wrong. Damaged bytes lead to all kinds of errors: where they are not
 * those of the layer, that is the error.
 */
export async function explain(layer: SourceLayer, error: unknown): Promise<unknown> {
  if (!(error instanceof FsError)) return error
  let first = error
  if ('open' in layer && layer.digest !== undefined && isErrno(error, 'EIO', 'EINVAL', 'ENOENT')) {
    try {
      await new HashedStream(layer.open(), layer).check('blob')
    } catch (other) {
      if (other instanceof FsError) first = other
    }
  }
  return first.message.includes(layer.label)
    ? first
    : new FsError(first.code, `${layer.label}: ${first.message}`, { cause: error })
}
