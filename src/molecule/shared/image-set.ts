import type { MergedTree, TreeMemory } from '../../../overlay/index.ts'
import {
  type Blobs,
  type ByteSource,
  FsError,
  type KindSession,
  type Layer,
  omitUndefined,
  type SourceId,
  type VerityWatch,
} from '../../base/index.ts'
import { kindNamed } from '../../kinds/kinds.ts'
import { type Patience, PostponingSource, SharedBlobs } from '../../transforms/index.ts'
import type { AskForBlob } from '../blobs/blobs-of-images.ts'
import { imageSource } from '../image-file.ts'
import { type ImageBlocks, imageBlocks } from '../images/image-blocks.ts'
import { mergeLayers } from '../open.ts'
import type { ImageSpec, MoleculeSpec } from '../spec.ts'
import { watchImages } from '../tally.ts'

/** An image of a server of several mounts. Plain data for all of its threads. */
export interface SharedImage {
  /** Its number, which no other image of the server ever gets: `BlockRef.source`. */
  readonly id: SourceId
  readonly spec: ImageSpec
  /** `allocateTally` for all threads and this one image. */
  readonly tally: SharedArrayBuffer
}

/** What is shown of images in one mount: `MoleculeSpec` with numbers of images in place of indexes. */
export interface SharedMolecule extends Pick<MoleculeSpec, 'plain' | 'uid' | 'gid' | 'subdir'> {
  /** Bottom first. */
  readonly layers: readonly SourceId[]
}

export interface ImageSetOptions {
  /** Row of this thread in the tallies. */
  readonly thread: number
  /** Says what is wrong with an image. */
  readonly tell: (level: 'error' | 'warn', message: string, image: SourceId) => void
  readonly askForBlob: AskForBlob
  /** Of a dispatcher; absent: reads wait. */
  readonly patience?: Patience
}

/** Most bytes of verified hash blocks that one image keeps for each purpose in a thread. */
const HASH_CACHE_BYTES = 64 << 10

/** The images of all mounts of a server, in one of its threads. What images of a kind have in common is bounded once. */
export class ImageSet {
  readonly store: ImageBlocks
  readonly #options: ImageSetOptions
  readonly #images = new Map<SourceId, SharedImage>()
  /** For layers and for blocks, by kind. */
  readonly #sessions = [new Map<string, KindSession>(), new Map<string, KindSession>()] as const
  /** Layers of images, as a part of a merge and alone. */
  readonly #layers = new Map<string, Layer>()
  readonly #sources = new Map<SourceId, ByteSource[]>()

  constructor(options: ImageSetOptions) {
    this.#options = options
    this.store = imageBlocks({
      imageOf: (id) => this.#images.get(id)?.spec,
      sessionOf: (image) => this.#session(1, image),
      blobsOf: (id) => this.#blobsOf(id),
      hashCacheBytes: HASH_CACHE_BYTES,
      watch: (id) => this.#watch(id),
    })
  }

  add(image: SharedImage): void {
    this.#images.set(image.id, image)
  }

  /** Bytes of the file of an image; 0 where there is none. */
  sizeOf(id: SourceId): number {
    return this.#images.get(id)?.spec.source.size ?? 0
  }

  /** Forgets an image, and closes what this thread has open of it. Its descriptors are the caller's. */
  drop(id: SourceId): void {
    this.store.drop(id)
    for (const source of this.#sources.get(id) ?? []) source.close?.()
    this.#sources.delete(id)
    for (const isMerged of [true, false]) this.#layers.delete(nameOf(id, isMerged))
    this.#images.delete(id)
  }

  /** The tree of a mount. Mounts that show the same may share it: it is read-only. @throws FsError EIO */
  openTree(molecule: SharedMolecule, memory?: TreeMemory): MergedTree {
    const { layers: ids, plain, ...shown } = molecule
    const layers = ids.map((id) => this.#layer(id, !plain))
    return mergeLayers({ ...shown, plain }, layers, memory)
  }

  /** Forgets what layers can decode again. */
  giveBack(): void {
    for (const layer of this.#layers.values()) layer.giveBack?.()
  }

  #layer(id: SourceId, isMerged: boolean): Layer {
    const name = nameOf(id, isMerged)
    const present = this.#layers.get(name)
    if (present !== undefined) return present
    const { patience, tell } = this.#options
    const { spec } = this.#known(id)
    const { label, facts } = spec
    const guard = (source: ByteSource): ByteSource =>
      patience === undefined ? source : new PostponingSource(source, id, patience)
    const source = imageSource(spec, this.#watch(id), HASH_CACHE_BYTES, guard)
    this.#sources.set(id, [...(this.#sources.get(id) ?? []), source])
    const turn = patience?.turn
    const layer = this.#session(0, spec).openLayer({
      ...{ source, sourceId: id, label, detail: facts.detail, isMerged },
      ...omitUndefined({ blobs: this.#blobsOf(id) }),
      ...(turn === undefined ? {} : { pause: () => turn.pause() }),
      warn: (message) => tell('warn', `${label}: ${message}`, id),
    })
    this.#layers.set(name, layer)
    return layer
  }

  #session(purpose: 0 | 1, { kind, facts }: ImageSpec): KindSession {
    const sessions = this.#sessions[purpose]
    const session = sessions.get(kind) ?? kindNamed(kind).open({ details: [facts.detail] })
    sessions.set(kind, session)
    return session
  }

  #blobsOf(id: SourceId): Blobs | undefined {
    const { askForBlob } = this.#options
    const { blobs, label } = this.#known(id).spec
    return blobs && new SharedBlobs(blobs, label, (blob, wish) => askForBlob(id, blob, wish))
  }

  #watch(id: SourceId): VerityWatch {
    const { thread, tell } = this.#options
    return watchImages(this.#known(id).tally, thread, 1, (message) => tell('error', message, id))(0)
  }

  #known(id: SourceId): SharedImage {
    const image = this.#images.get(id)
    if (image === undefined) throw new FsError('EIO', `unknown image ${id}`)
    return image
  }
}

function nameOf(id: SourceId, isMerged: boolean): string {
  return `${id}${isMerged ? ' merged' : ''}`
}
