import {
  adapted,
  HostDirectoryLayer,
  type Layer,
  MergedTree,
  type MergedTreeOptions,
  RecordedDirectoryLayer,
  type TreeMemory,
  WorkDirectory,
  WritableTree,
} from '../../overlay/index.ts'
import {
  type Background,
  type Blobs,
  type BlockStore,
  type ByteSource,
  encodePath,
  type FileSystem,
  FsError,
  type KindSession,
  NO_MARKS,
  omitUndefined,
  type SessionOptions,
  type SourceId,
  type VerityWatch,
} from '../base/index.ts'
import { kindNamed } from '../kinds/kinds.ts'
import { pread } from '../sys/files/file-io.ts'
import { descriptorPath } from '../sys/plain/proc.ts'
import type { KeptDescriptors } from '../sys/process/kept-descriptors.ts'
import { type Patience, PostponingSource } from '../transforms/index.ts'
import { type AskForBlob, blobsOfImages, openedHere } from './blobs/blobs-of-images.ts'
import { imageSource } from './image-file.ts'
import { imageBlocks } from './images/image-blocks.ts'
import { copyRoot } from './root-attributes.ts'
import type { DirectorySpec, ImageSpec, MoleculeSpec, UpperSpec } from './spec.ts'

export interface OpenMolecule {
  readonly fileSystem: FileSystem
  readonly store: BlockStore
  /**
   * Closes the sources of the layers and of the store, and what was opened below directories. The descriptors in the spec
   * are the caller's.
   */
  closeLayers(): void
  /** Forgets what layers can decode again. */
  giveBack(): void
}

/** Gives the watch over an image of the mount by its index. */
export type ImageWatch = (image: number) => VerityWatch

/** What the thread that opens a molecule has around it. */
export interface Surroundings {
  /** Counts and reports what verification finds. */
  readonly watch?: ImageWatch | undefined
  /** Of a dispatcher: its requests are postponed where metadata are not at hand. Absent: it waits for them. */
  readonly patience?: Patience | undefined
  /** Other threads for what takes long. */
  readonly background?: Background | undefined
  /** Asks the main thread to open a blob (`BlobKeepers`). Absent: this thread opens it. */
  readonly askForBlob?: AskForBlob | undefined
  /** Takes what layers find out of themselves later, a line each. Absent: nobody is told. */
  readonly warn?: ((message: string) => void) | undefined
  /** What outlives this thread of the merge of images. Absent: nothing does. */
  readonly memory?: TreeMemory | undefined
  /** Put around the file of each image, below all else. */
  readonly guard?: ((source: ByteSource, id: SourceId) => ByteSource) | undefined
  /** Put around the blobs of each image. */
  readonly guardBlobs?: ((blobs: Blobs) => Blobs) | undefined
  /** Bytes of decoded metadata to keep; a sensible default where absent. */
  readonly metadataBytes?: number | undefined
  /** Of a thread whose process goes on after its death: notes what it has open of the upper. */
  readonly kept?: KeptDescriptors | undefined
}

/** Surroundings in which it is settled who opens blobs: all that a thread opens asks the same one. */
type Settled = Surroundings & { readonly askForBlob: AskForBlob }

function settle(spec: MoleculeSpec, around: Surroundings): Settled {
  return { ...around, askForBlob: around.askForBlob ?? openedHere(spec) }
}

/**
 * Builds the file system of a mount as it is without its upper directory, in the thread that will own it.
 * @throws FsError EIO
 */
export function openMolecule(spec: MoleculeSpec, surroundings: Surroundings = {}): OpenMolecule {
  const around = settle(spec, surroundings)
  const sources = watchedSources(spec, around)
  const layers = openLayers(spec, sources.of, around)
  const fileSystem = mergeLayers(spec, layers, around.memory)
  const store = openBlockStore(spec, around)
  return {
    fileSystem,
    store,
    closeLayers: () => close(layers, sources, store),
    giveBack: () => giveBack(layers),
  }
}

function giveBack(layers: readonly Layer[]): void {
  for (const layer of layers) layer.giveBack?.()
}

/** Gives the bytes of an image, verified where it has a root hash. */
type SourceOf = (image: ImageSpec, sourceId: SourceId) => ByteSource

/** The sources that one thread has made, which it closes together. */
class OpenSources {
  readonly #open: ByteSource[] = []
  readonly of: SourceOf

  constructor(make: SourceOf) {
    this.of = (image, sourceId) => {
      const source = make(image, sourceId)
      this.#open.push(source)
      return source
    }
  }

  close(): void {
    for (const source of this.#open.splice(0)) source.close?.()
  }
}

function watchedSources(spec: MoleculeSpec, { watch, patience, guard }: Surroundings): OpenSources {
  return new OpenSources((image, sourceId) => {
    const around = (source: ByteSource): ByteSource => {
      const guarded = guard?.(source, sourceId) ?? source
      return patience === undefined ? guarded : new PostponingSource(guarded, sourceId, patience)
    }
    return imageSource(image, watch?.(sourceId), hashCache(spec), around)
  })
}

/** The layers of a mount without their merge. */
export interface LayerStack {
  /** Bottom first; a layer that the manifest names twice is the same object. */
  readonly layers: readonly Layer[]
  /** Closes what was opened for them; the descriptors in the spec are the caller's. */
  close(): void
}

/** Opens the layers, for those who look at each of them. @throws FsError EIO */
export function openLayerStack(spec: MoleculeSpec): LayerStack {
  const around = settle(spec, {})
  const sources = watchedSources(spec, around)
  const layers = openLayers(spec, sources.of, around)
  return { layers: withMarks(spec, layers), close: () => close(layers, sources) }
}

/** An image file by itself is a file system of its own, not a difference to something below it. */
function withMarks({ plain }: Pick<MoleculeSpec, 'plain'>, layers: readonly Layer[]): readonly Layer[] {
  return plain ? layers.map((layer) => adapted(layer, NO_MARKS)) : layers
}

/** The tree that open layers make. @param memory what outlives it */
export function mergeLayers(
  spec: ShownAs & Pick<MoleculeSpec, 'plain'>,
  layers: readonly Layer[],
  memory?: TreeMemory,
): MergedTree {
  return new MergedTree(withMarks(spec, layers), { ...shownAs(spec), memory })
}

function close(layers: readonly Layer[], sources: OpenSources, store?: BlockStore): void {
  for (const layer of layers) if (layer instanceof HostDirectoryLayer) layer.close()
  sources.close()
  store?.close?.()
}

export interface UpperMolecule extends OpenMolecule {
  readonly fileSystem: WritableTree
  /** Closes all descriptors of the upper but those of `UpperSpec`. Nothing may use the file system any more. */
  closeUpper(): void
}

/**
 * Builds the file system of a mount with its upper directory, in the thread that will own it and do all of its changes.
 * @throws FsError as `openMolecule`; EROFS, EACCES, ENOSPC of the upper directory
 */
export function openWithUpper(
  spec: MoleculeSpec,
  upper: UpperSpec,
  surroundings: Surroundings = {},
): UpperMolecule {
  const around = settle(spec, surroundings)
  const { work } = upper
  const { background, kept } = around
  const store = openBlockStore(spec, around)
  const sources = watchedSources(spec, around)
  const layers = openLayers(spec, sources.of, around)
  const workDirectory = new WorkDirectory(work?.fd, work?.label ?? '')
  if (workDirectory.isOpen) kept?.add(workDirectory.fd)
  const fileSystem = new WritableTree({
    layers,
    store,
    readHostFile,
    ...omitUndefined({ background, kept }),
    upperFd: upper.upperFd,
    label: upper.label,
    work: workDirectory,
    policy: upper.policy,
    redirectDir: upper.redirectDir,
    ...omitUndefined({ size: upper.size }),
    ...shownAs(spec),
  })
  if (upper.fresh && layers.length > 0) copyRoot(new MergedTree(layers, shownAs(spec)), fileSystem)
  const closeUpper = (): void => {
    fileSystem.close()
    if (workDirectory.isOpen) kept?.delete(workDirectory.fd)
    workDirectory.close()
  }
  return {
    fileSystem,
    store,
    closeLayers: () => close(layers, sources, store),
    giveBack: () => giveBack(layers),
    closeUpper,
  }
}

function openLayers(
  spec: MoleculeSpec,
  sourceOf: SourceOf,
  { patience, askForBlob, warn, metadataBytes, guardBlobs }: Settled,
): readonly Layer[] {
  const turn = patience?.turn
  const blobsOf = blobsOfImages(spec, askForBlob, guardBlobs)
  const sessionOf = openSessions(spec, metadataBytes === undefined ? {} : { metadataBytes })
  const used = new Set(spec.layers)
  const images = spec.images.map((image, sourceId): Layer | undefined => {
    // Data of files, which are no layer.
    if (!used.has(sourceId)) return undefined
    const { label, facts } = image
    const source = sourceOf(image, sourceId)
    return sessionOf(image).openLayer({
      source,
      sourceId,
      label,
      detail: facts.detail,
      isMerged: !spec.plain,
      ...omitUndefined({ blobs: blobsOf(sourceId) }),
      ...(turn === undefined ? {} : { pause: () => turn.pause() }),
      ...(warn === undefined ? {} : { warn: (message: string) => warn(`${label}: ${message}`) }),
    })
  })
  return spec.layers.map((layer) => {
    if (typeof layer !== 'number') return openDirectoryLayer(layer)
    const image = images[layer]
    if (image === undefined)
      throw new FsError('EIO', `molecule: layer names image ${layer} of ${images.length}`)
    return image
  })
}

function openDirectoryLayer({ label, fd, ownerRecord, followsRedirects }: DirectorySpec): Layer {
  // By its descriptor: the path may lead somewhere else by now, and through the mount itself later.
  const path = descriptorPath(fd)
  return ownerRecord === undefined
    ? new HostDirectoryLayer(path, { label, followsRedirects })
    : new RecordedDirectoryLayer(path, ownerRecord, { label, followsRedirects })
}

type ShownAs = Pick<MoleculeSpec, 'uid' | 'gid' | 'subdir'>

/** The options that a tree of either kind takes from a spec. */
function shownAs({ uid, gid, subdir }: ShownAs): Pick<MergedTreeOptions, 'uid' | 'gid' | 'subdir'> {
  return {
    ...omitUndefined({ uid, gid }),
    ...(subdir === undefined ? {} : { subdir: encodePath(subdir).toString('latin1') }),
  }
}

/** One session for each kind among the images of a mount. */
function openSessions(
  { images }: MoleculeSpec,
  options: Omit<SessionOptions, 'details'> = {},
): (image: ImageSpec) => KindSession {
  const sessions = new Map<string, KindSession>()
  for (const { kind } of images) {
    if (sessions.has(kind)) continue
    const details = new Set(images.filter((image) => image.kind === kind).map(({ facts }) => facts.detail))
    sessions.set(kind, kindNamed(kind).open({ ...options, details: [...details] }))
  }
  return ({ kind }) => {
    const session = sessions.get(kind)
    if (session === undefined) throw new FsError('EIO', `image of kind ${kind}, which is not open`)
    return session
  }
}

/** Decodes data blocks of all images of a mount: all that a data worker needs. One for each thread. */
export function openBlockStore(
  spec: MoleculeSpec,
  { watch, askForBlob, guard, guardBlobs }: Settled,
): BlockStore {
  return imageBlocks({
    imageOf: (id) => spec.images[id],
    // Now, because the thread may give up the right to open the files of decoders.
    sessionOf: openSessions(spec),
    blobsOf: blobsOfImages(spec, askForBlob, guardBlobs),
    hashCacheBytes: hashCache(spec),
    watch,
    guard,
  })
}

/** Verified hash blocks of all images that one kind of reader in one thread keeps, bytes. */
const HASH_CACHE_BYTES = 512 << 10

/** The share of one image: many layers together take no more memory than a few. */
export function hashCache(spec: MoleculeSpec): number {
  return Math.floor(HASH_CACHE_BYTES / Math.max(2, spec.images.length))
}

/** Reads from a host file on behalf of a directory layer. @returns bytes read, fewer only where the file ends */
export function readHostFile(fd: number, position: number, target: Uint8Array): number {
  return pread(fd, position, target)
}
