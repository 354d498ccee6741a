import { closeSync, createReadStream } from 'node:fs'
import { MergedTree } from '../../../overlay/index.ts'
import {
  type FoundFiles,
  FsError,
  type ImageFile,
  isFoundDirectory,
  type NamedSource,
  type PathText,
  printable,
  systemPath,
  unlessFailed,
} from '../../base/index.ts'
import {
  filesOf,
  isOverlay,
  layerDescriptors,
  type MoleculeSpec,
  type MountSource,
  moleculeOf,
  openLayerStack,
  openMolecule,
  type UpperPolicy,
} from '../../molecule/index.ts'
import { hostPlatform, type ImageConfig, withOneLayer } from '../../oci/index.ts'
import { layoutImage } from '../convert/layout-source.ts'
import type { SourceImage, SourceLayer } from '../convert/source-image.ts'
import { decrypted, isEncrypted } from '../convert/stored-layers.ts'
import { MergedEntries } from '../merged-entries.ts'
import { type LeftOut, nothingLeftOut, sizeOfItems, type TreeItem } from '../tree-item.ts'
import { upperItems } from './upper-items.ts'

/** A writable mount whose changes become a layer. */
export interface CommittedMount {
  readonly source: MountSource
  readonly name: PathText
  /** Of an image in a layout: what its tag meant when it was mounted. */
  readonly manifestDigest?: string
  readonly rootHash?: string
  readonly upper: {
    readonly path: PathText
    readonly policy: Pick<UpperPolicy, 'owners' | 'ownerRecord'>
  }
  /** Makes changes of the mount wait. @returns to be called when they may go on */
  readonly hold: () => Promise<() => void>
}

export interface CommitChoices {
  /** One layer of all that the mount shows, instead of one more. */
  readonly squash: boolean
  /** When the image was made. */
  readonly created: Date
}

/**
 * The image of a mount, with one more layer of its changes. Changes wait while that layer is read.
 * @throws FsError EINVAL for a mount of directories that is not squashed; as `layoutImage`
 */
export function committedImage(mount: CommittedMount, { squash, created }: CommitChoices): SourceImage {
  const found = mountedFiles(mount)
  const layer: SourceLayer = {
    form: 'tree',
    label: squash ? 'all that the mount shows' : 'the changes of the mount',
    items: (leftOut) => heldItems(mount, found, squash, leftOut),
    measure: () => sizeNow(mount, found, squash),
  }
  const by = `atomfs-fuse commit${squash ? ' --squash' : ''}`
  const time = created.toISOString()
  const base = lowerImage(mount, found, squash)
  const config = base.config ?? newConfig()
  if (squash) return { ...base, config: { ...withOneLayer(config, '', by), created: time }, layers: [layer] }
  const history = [...historyOf(config), { created: time, created_by: by }]
  return { ...base, config: { ...config, created: time, history }, layers: [...base.layers, layer] }
}

/** @throws FsError as a mount */
function mountedFiles({ source, name, rootHash, manifestDigest }: CommittedMount): FoundFiles {
  const same = isOverlay(source) ? source : atDigest(source, manifestDigest)
  return filesOf({ source: same, name, rootHash })
}

/** The same image, whatever its tag means by now. */
function atDigest({ tag, ...source }: NamedSource, digest: string | undefined): NamedSource {
  return digest === undefined ? { ...source, ...(tag !== undefined && { tag }) } : { ...source, digest }
}

/** What lies below the changes. @throws FsError EINVAL where no image holds it */
function lowerImage(
  { source, manifestDigest }: CommittedMount,
  found: FoundFiles,
  squash: boolean,
): SourceImage {
  if (!isOverlay(source) && source.container === 'oci') {
    return layoutImage(source.path, manifestDigest ?? source.tag ?? '')
  }
  if (squash) return { layers: [], close: () => undefined }
  const [file, other] = found.layers
  if (file === undefined || other !== undefined || isFoundDirectory(file)) {
    throw new FsError(
      'EINVAL',
      'what is mounted lies in directories, which no image holds: commit with --squash',
    )
  }
  const layer: SourceLayer = { form: 'squashfs', label: printable(file.path), open: bytesOf(file) }
  const history = [{ created_by: 'atomfs-fuse commit' }]
  return { config: { ...newConfig(), history }, layers: [layer], close: () => undefined }
}

/** Reads the image of a file. @throws FsError EINVAL for one of another kind */
function bytesOf(file: ImageFile): () => AsyncIterable<Uint8Array> {
  const spec = moleculeOf([file], true)
  closeFiles(spec)
  const [image] = spec.images
  if (image?.kind !== 'squashfs') {
    const reason = 'is no squashfs image, and so no layer: commit with --squash'
    throw new FsError('EINVAL', `${printable(file.path)} ${reason}`)
  }
  if (isEncrypted(image)) return () => decrypted(file)
  const window = image.transforms.find(({ kind }) => kind === 'window')
  const { offset, size } = window?.kind === 'window' ? window : { offset: 0, size: image.source.size }
  return () => createReadStream(systemPath(file.path), { start: offset, end: offset + size - 1 })
}

function closeFiles(spec: MoleculeSpec): void {
  for (const fd of new Set(layerDescriptors(spec))) closeSync(fd)
}

function newConfig(): ImageConfig {
  const { os, architecture } = hostPlatform()
  return { architecture, os, config: {} }
}

function historyOf({ history }: ImageConfig & { readonly history?: unknown }): readonly unknown[] {
  return Array.isArray(history) ? history : []
}

async function* heldItems(
  mount: CommittedMount,
  found: FoundFiles,
  squash: boolean,
  leftOut: LeftOut,
): AsyncGenerator<TreeItem> {
  const release = await mount.hold()
  try {
    yield* itemsOf(mount, found, squash, leftOut)
  } finally {
    release()
  }
}

/** Bytes of the files of the layer, if nothing changes meanwhile; 0 where something did. */
function sizeNow(mount: CommittedMount, found: FoundFiles, squash: boolean): number {
  return unlessFailed(() => sizeOfItems(itemsOf(mount, found, squash, nothingLeftOut()))) ?? 0
}

function* itemsOf(
  { upper: { path, policy } }: CommittedMount,
  found: FoundFiles,
  squash: boolean,
  leftOut: LeftOut,
): Generator<TreeItem> {
  const record = policy.owners === 'override' ? { ownerRecord: policy.ownerRecord } : {}
  const top = { directory: path, what: 'upper directory', followsRedirects: true, ...record }
  const spec = moleculeOf([...found.layers, top], false, found.data)
  const closers = [() => closeFiles(spec)]
  try {
    const { fileSystem, store, closeLayers } = openMolecule(spec)
    closers.unshift(closeLayers)
    const merged = new MergedEntries(fileSystem, store, { leftOut })
    if (squash) {
      yield* merged.items()
      return
    }
    const stack = openLayerStack(spec)
    closers.unshift(() => stack.close())
    const upper = stack.layers.at(-1)
    if (upper === undefined) throw new FsError('EIO', 'a mount without layers')
    const lower = new MergedTree(stack.layers.slice(0, -1))
    yield* upperItems({ merged, lower, upper })
  } finally {
    for (const close of closers) close()
  }
}
