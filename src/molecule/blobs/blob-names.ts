import { type BlobList, FsError } from '../../base/index.ts'
import { kindNamed } from '../../kinds/kinds.ts'
import { parseDigest } from '../../oci/index.ts'
import { imageSource } from '../image-file.ts'
import type { ImageSpec } from '../spec.ts'

/** The files of all blobs of an image, in order. @throws FsError EIO */
export function blobNames(image: ImageSpec): readonly string[] {
  return image.blobs === undefined ? [] : new BlobNames(image).all()
}

/** The files of the blobs of one image, by the indexes of these. Nothing is read before the first name is wanted. */
export class BlobNames {
  readonly #image: ImageSpec
  #list: BlobList | undefined
  #algorithm: string | undefined

  constructor(image: ImageSpec) {
    this.#image = image
  }

  /** The hex digits of a digest. @throws FsError EIO for a digest that is none */
  of(blob: number): string {
    const { label } = this.#image
    // Checked, because it becomes the name of a file.
    const { algorithm, hex } = parseDigest(this.#blobs().digest(blob), `${label}: blob ${blob}`)
    this.#algorithm ??= algorithm
    if (algorithm === this.#algorithm) return hex
    throw new FsError('EIO', `${label}: digests of two algorithms: ${this.#algorithm} and ${algorithm}`)
  }

  /** @throws FsError EIO */
  all(): readonly string[] {
    return Array.from({ length: this.#blobs().count }, (_, blob) => this.of(blob))
  }

  #blobs(): BlobList {
    const { kind } = this.#image
    this.#list ??= kindNamed(kind).blobs?.(imageSource(this.#image)) ?? { count: 0, digest: () => '' }
    return this.#list
  }
}
