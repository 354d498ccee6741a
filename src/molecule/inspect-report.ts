import type { ContainerListing, ImageSummary } from '../base/index.ts'
import type { ChunkReport } from './blobs/chunk-report.ts'
import type { DescribedEncryption } from './encryption/report.ts'
import type { TarReport } from './spec.ts'

/** Whether the image carries a hash tree, and what is known of it. An image that is verified by its digest has that as root hash. */
export type VerityReport =
  | 'no'
  | {
      readonly present: true
      readonly algorithm: string
      /** Hex; absent if no root hash is known for the image. */
      readonly rootHash?: string
    }

/** What `inspect` tells of one layer. Sizes in bytes, counts in pieces. */
export interface LayerReport extends ImageSummary {
  /** Digest of the blob, or path of the image file. */
  readonly label: string
  readonly mediaType?: string
  /** Byte position of the image in its file; absent where that is 0. */
  readonly offset?: number
  /** Bytes from there to the end of the file, with the hash tree; of a tar layer, of its blob. */
  readonly size: number
  readonly verity: VerityReport
  /** Of an image whose data lie in blobs of their own. */
  readonly stored?: ChunkReport
  /** Of a tar layer. */
  readonly tar?: TarReport
}

/** What `inspect` tells of a directory of this machine. */
export interface DirectoryReport {
  readonly kind: 'directory'
  /** Its path. */
  readonly label: string
  /** Names in the directory itself, in pieces; what lies deeper is not looked at. */
  readonly entries: number
}

/** Answer of `inspect SOURCE`. */
export interface InspectReport {
  readonly source: string
  readonly manifestDigest?: string
  /** The images, bottom first, as in the manifest. */
  readonly layers: readonly LayerReport[]
  /** What people should know of the source, a line each. */
  readonly remarks?: readonly string[]
  /** All that lies in the file, where it holds more than images. */
  readonly listing?: ContainerListing
  /** The encrypted images, as far as they can be described without their keys. */
  readonly encryption?: readonly DescribedEncryption[]
  /** Why nothing of it can be mounted, one line; then there are no layers. */
  readonly notMounted?: string
  /** Where SOURCE is no image. */
  readonly directory?: DirectoryReport
}
