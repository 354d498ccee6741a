import type { IdRule } from '../../overlay/index.ts'
import type { CompressorName } from '../../squashfs/index.ts'
import type { VerityTable } from '../verity/index.ts'

/** When the blocks of a layer with a root hash are compared with it; a mismatch is fatal whenever it shows. */
export type VerifyMode =
  /** Metadata at mount, all of a small layer at mount, the rest when read. */
  | 'auto'
  /** Everything when read. */
  | 'lazy'
  /** Everything at mount, and again when read. */
  | 'eager'

/** What is to be mounted, as the user named it. */
export interface MoleculeRequest {
  /** `OCIDIR:TAG`, `oci:OCIDIR:TAG`, or a squashfs file. */
  readonly source: string
  /** Mounts layers without a root hash unverified. Never excuses a mismatch. */
  readonly allowMissingVerity: boolean
  /** Hex; for a squashfs file, or an image of one layer. */
  readonly rootHash?: string
  readonly verify: VerifyMode
  readonly options: {
    /** Owner to show: one for everything, or by ranges. */
    readonly uid?: IdRule
    readonly gid?: IdRule
    /** Byte position of the superblock in a squashfs file. */
    readonly offset?: number
    /** Directory of the image to show as the root. */
    readonly subdir?: string
  }
}

/** One squashfs file, open, its superblock read and, where it has a root hash, verified. */
export interface ImageSpec {
  /** Digest or path. */
  readonly label: string
  /** Open in this process, valid in all of its threads. */
  readonly fd: number
  /** Where the image begins in the file, and how many bytes of the file belong to it. */
  readonly offset: number
  readonly size: number
  readonly compressor: CompressorName
  readonly blockSize: number
  /** Present where every read is verified. */
  readonly verity?: VerityTable
}

/** One mount, ready to be served: plain data that is handed to every thread. */
export interface MoleculeSpec {
  /** Each file once, however often it stands in the manifest. */
  readonly images: readonly ImageSpec[]
  /** Indexes into `images`, bottom layer first. */
  readonly layers: readonly number[]
  /** A bare squashfs file: shown as it is, without the rules of merging. */
  readonly plain: boolean
  readonly uid?: IdRule
  readonly gid?: IdRule
  readonly subdir?: string
  /** Largest block size of the images. */
  readonly blockSize: number
  /** Files that the mount point must not cover, absolute. */
  readonly paths: readonly string[]
}
