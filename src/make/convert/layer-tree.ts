import type { NewEntry, SquashfsWriter } from '../../../squashfs/write/index.ts'
import { FsError, isDirectory, type Name } from '../../base/index.ts'
import { decompressed } from '../decompressed.ts'
import { OPAQUE_MARK, TarMarks } from '../tar-marks.ts'
import { tarTree } from '../tar-tree.ts'
import type { LeftOut, TreeItem } from '../tree-item.ts'
import { HashedStream } from './hashed-stream.ts'
import { LaterMarks } from './later-marks.ts'
import type { LowerLayers } from './lower-layers.ts'
import { ParentLinks } from './parent-links.ts'
import type { TarLayer } from './source-image.ts'

/** What is made of the layer so far. */
export type LayerSoFar = Pick<SquashfsWriter, 'modeAt' | 'targetAt' | 'missingDirectories' | 'missingLinks'>

/**
 * The tree of a layer in an archive as an overlay needs it. What the archive takes for granted comes from the layers below:
 * the attributes of directories without an entry of their own, and files that it gives one more name.
 * @param onProgress gets the bytes of the blob that were read
 * @throws FsError EIO where the bytes are not those of the layer; as `tarTree`
 */
export async function* layerTree(
  layer: TarLayer,
  writer: LayerSoFar,
  lower: LowerLayers,
  leftOut: LeftOut,
  onProgress?: (done: number) => void,
): AsyncGenerator<TreeItem> {
  const { digest, size, diffId } = layer
  const blob = new HashedStream(layer.open(), { digest, size }, onProgress)
  const archive = new HashedStream(decompressed(blob, layer.label), { digest: diffId })
  const marks = new TarMarks((path) => writer.modeAt(path))
  const later = new LaterMarks(layer)
  const links = new ParentLinks(writer, lower, (path) => marks.covers(path) || later.hides(path))
  yield* tarTree(archive, marks, leftOut, {
    resolve: async (path) => {
      const place = links.resolve(path)
      return links.wentBelow && (await later.read()) ? links.resolve(path) : place
    },
    typeAt: (path) => lower.entry(path)?.mode,
  })
  await archive.check('archive in it')
  await blob.check('blob')
  // First: they may be all that a directory has.
  yield* missingFiles(writer, lower)
  for (const path of writer.missingDirectories()) {
    const entry = marks.covers(path) ? undefined : lower.entry(path)
    if (entry !== undefined && isDirectory(entry.mode)) yield { path, entry: withMark(entry, path, marks) }
  }
}

function withMark(entry: NewEntry, path: Name, marks: TarMarks): NewEntry {
  return marks.isOpaque(path) ? { ...entry, xattrs: [...(entry.xattrs ?? []), OPAQUE_MARK] } : entry
}

/** A hard link to a file of a layer below is a copy of it: layers share no inodes. */
function* missingFiles(writer: LayerSoFar, lower: LowerLayers): Generator<TreeItem> {
  const copies = new Map<Name, Name>()
  const seen = new Set<Name>()
  for (const { path, target } of writer.missingLinks()) {
    // A link to such a link is a link to its copy: the writer waits for it.
    const isFound = seen.has(target)
    seen.add(path)
    if (isFound) continue
    const copy = copies.get(target)
    if (copy !== undefined) {
      yield { path, link: copy }
      continue
    }
    const entry = lower.entry(target)
    if (entry === undefined || isDirectory(entry.mode)) {
      const [link, file] = [path, target].map((name) => JSON.stringify(name))
      throw new FsError('EINVAL', `hard link ${link}: there is no file ${file}, here or in a layer below`)
    }
    yield { path, entry }
    copies.set(target, path)
  }
}
