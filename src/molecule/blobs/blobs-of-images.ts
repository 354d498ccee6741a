import type { Blobs, SourceId } from '../../base/index.ts'
import { BlobKeeper, SharedBlobs } from '../../transforms/index.ts'
import type { MoleculeSpec } from '../spec.ts'

/** Asks for a blob of an image to be opened, and does not wait for it. */
export type AskForBlob = (image: SourceId, blob: number) => void

/** The main thread's side of all blobs of a mount: opens them for the other threads. The end of the process closes them. */
export class BlobKeepers {
  readonly #keepers: readonly (BlobKeeper | undefined)[]

  constructor({ images }: MoleculeSpec) {
    this.#keepers = images.map(({ blobs }) => (blobs === undefined ? undefined : new BlobKeeper(blobs)))
  }

  /** @throws FsError that says why it cannot be opened; the thread that asked gets EIO */
  open(image: SourceId, blob: number): void {
    this.#keepers[image]?.open(blob)
  }
}

/** One thread's side: the blobs of an image by its index, undefined where it has none. */
export function blobsOfImages(
  spec: MoleculeSpec,
  ask: AskForBlob,
  probes = true,
): (image: SourceId) => Blobs | undefined {
  return (image) => {
    const { blobs, label } = spec.images[image] ?? {}
    return blobs === undefined || label === undefined
      ? undefined
      : new SharedBlobs(blobs, label, (blob) => ask(image, blob), probes)
  }
}

/** For a process of one thread: it opens the blobs itself, and keeps them to its end. */
export function openedHere(spec: MoleculeSpec): AskForBlob {
  const keepers = new BlobKeepers(spec)
  return (image, blob) => keepers.open(image, blob)
}
