import type { SquashfsWriter } from '../../squashfs/write/index.ts'
import { FsError, type Name, type PathText } from '../base/index.ts'
import type { Contents, ContentsRequest } from '../contents/index.ts'
import { newFile } from '../sys/files/new-file.ts'
import { CompressPool } from './compress-pool.ts'
import { decompressed } from './decompressed.ts'
import { type HostTreeOptions, hostTree } from './host-tree.ts'
import { imageTree, openImageTree } from './image-tree.ts'
import { below, within, without } from './selection/subtree.ts'
import { TarMarks } from './tar-marks.ts'
import { tarTree } from './tar-tree.ts'
import { type LeftOut, nothingLeftOut, sizeOfItems, type TreeItems } from './tree-item.ts'
import { asAufs, asOverlay, type Whiteouts } from './whiteouts.ts'
import { type ImageOptions, type ImagePlace, type PackedImage, writeImage } from './write-image.ts'

/** How a tree becomes an image in a file. */
export interface PackOptions extends ImageOptions, HostTreeOptions {
  readonly force?: boolean
  /** `none` if absent. */
  readonly whiteouts?: Whiteouts
}

/** A directory of this machine, a tar archive, also a compressed one, or the tree that a mount of an image would show. */
export type PackSource =
  | { readonly directory: PathText }
  | { readonly tar: AsyncIterable<Uint8Array>; readonly label: string }
  | { readonly image: ContentsRequest }

/**
 * Packs a tree into a squashfs image. The same tree and the same options give the same bytes.
 * @throws FsError EEXIST, ENOTDIR, ENOENT, EACCES, ENOSPC, EIO; EINVAL, EOPNOTSUPP for the options and for an archive
 *   that is none; as a mount for an image
 */
export async function pack(source: PackSource, file: PathText, options: PackOptions): Promise<PackedImage> {
  return await newFile(file, { force: options.force === true }, (fd) =>
    packInto({ fd, label: file }, source, options),
  )
}

/** As `pack`, into a file that is open. */
export async function packInto(
  place: ImagePlace,
  source: PackSource,
  options: PackOptions,
): Promise<PackedImage> {
  const leftOut = nothingLeftOut()
  const image = 'image' in source ? openImageTree(source.image, options.subdir) : undefined
  let pool: CompressPool | undefined
  try {
    pool = new CompressPool(options, options.threads)
    const opened = image ?? (source as StreamedSource)
    const itemsOf = (writer: SquashfsWriter): TreeItems => itemsOfSource(opened, options, leftOut, writer)
    return await writeImage(place, pool, itemsOf, leftOut, options)
  } finally {
    await pool?.close()
    image?.close()
  }
}

type StreamedSource = Exclude<PackSource, { readonly image: ContentsRequest }>

function itemsOfSource(
  source: StreamedSource | Contents,
  options: PackOptions,
  leftOut: LeftOut,
  writer: SquashfsWriter,
): TreeItems {
  const { whiteouts = 'none', exclude, priorities, subdir = '' } = options
  const isOverlay = whiteouts === 'overlay'
  if (!('tar' in source)) {
    const items =
      'directory' in source
        ? hostTree(source.directory, leftOut, options)
        : imageTree(source, leftOut, { exclude, priorities })
    if (whiteouts === 'aufs') return asAufs(items)
    return isOverlay ? asOverlay(items, new TarMarks((path) => writer.modeAt(path))) : items
  }
  if (priorities !== undefined) {
    const how = 'only a directory or an image can be sorted; an archive is read in its order'
    throw new FsError('EINVAL', `${source.label}: ${how}`)
  }
  const modeAt = (path: Name): number | undefined => {
    const place = below(subdir, path)
    return place === undefined ? undefined : writer.modeAt(place)
  }
  const marks = isOverlay ? new TarMarks(modeAt) : undefined
  const all = tarTree(decompressed(source.tar, source.label), marks, leftOut)
  const inside = subdir === '' ? all : within(all, subdir)
  const kept = exclude === undefined ? inside : without(inside, exclude)
  return whiteouts === 'aufs' ? asAufs(kept) : kept
}

/** Bytes of all files of a tree, those with several names once; 0 for an archive. @throws FsError as `pack` */
export function sizeOfSource(source: PackSource, options: HostTreeOptions): number {
  if ('tar' in source) return 0
  if ('image' in source) {
    const image = openImageTree(source.image, options.subdir)
    try {
      return sizeOfItems(imageTree(image, nothingLeftOut(), { exclude: options.exclude }))
    } finally {
      image.close()
    }
  }
  return sizeOfItems(hostTree(source.directory, nothingLeftOut(), options))
}
