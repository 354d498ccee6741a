import type { Blobs, SourceId } from '../../base/index.ts'
import { BlobKeeper, type BlobWish, SharedBlobs } from '../../transforms/index.ts'
import type { MoleculeSpec } from '../spec.ts'
import { BlobNames } from './blob-names.ts'

export type { BlobWish }

/** Asks for a blob of an image to be opened, and does not wait for it. */
export type AskForBlob = (image: SourceId, blob: number, wish: BlobWish) => void

/** The main thread's side of all blobs of a mount: opens them for the other threads. The end of the process closes them. */
export class BlobKeepers {
  readonly #keepers: readonly (BlobKeeper | undefined)[]

  constructor({ images }: Pick<MoleculeSpec, 'images'>) {
    this.#keepers = images.map((image) => {
      const names = new BlobNames(image)
      return image.blobs && new BlobKeeper(image.blobs, (blob) => names.of(blob))
    })
  }

  /** @throws FsError that says why a blob that is wanted cannot be opened; the thread that asked gets EIO */
  open(image: SourceId, blob: number, wish: BlobWish): void {
    const keeper = this.#keepers[image]
    if (wish === 'wanted') keeper?.open(blob)
    else keeper?.expect(blob)
  }

  /** A thread has ended: it reads no blob any more. @param thread its `threadId` */
  forgetThread(thread: number): void {
    for (const keeper of this.#keepers) keeper?.forgetThread(thread)
  }
}

/**
 * One thread's side: the blobs of an image by its index, undefined where it has none.
 * @param guard put around the blobs of each image
 */
export function blobsOfImages(
  spec: MoleculeSpec,
  ask: AskForBlob,
  guard: (blobs: Blobs) => Blobs = (one) => one,
): (image: SourceId) => Blobs | undefined {
  return (image) => {
    const { blobs, label } = spec.images[image] ?? {}
    return blobs === undefined || label === undefined
      ? undefined
      : guard(new SharedBlobs(blobs, label, (blob, wish) => ask(image, blob, wish)))
  }
}

/** For a process of one thread: it opens the blobs itself, and keeps them to its end. */
export function openedHere(spec: MoleculeSpec): AskForBlob {
  const keepers = new BlobKeepers(spec)
  return (image, blob, wish) => keepers.open(image, blob, wish)
}
