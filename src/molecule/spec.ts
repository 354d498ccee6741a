import type { IdRule, RecordOwners, UpperPolicy } from '../../overlay/index.ts'
import type { ImageFacts, NamedSource, PathText } from '../base/index.ts'
import { type BlobsSpec, blobDescriptors, type SourceSpec, type TransformSpec } from '../transforms/index.ts'
import type { MountSource } from './source.ts'

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
  readonly source: MountSource
  /** What the user calls the source, for messages. */
  readonly name: PathText
  /** Mounts layers without a root hash unverified. Never excuses a mismatch. */
  readonly allowMissingVerity: boolean
  /** Hex; for an image file, or an OCI image of one layer. */
  readonly rootHash?: string | undefined
  readonly verify: VerifyMode
  readonly options: {
    /** Owner to show: one for everything, or by ranges. */
    readonly uid?: IdRule | undefined
    readonly gid?: IdRule | undefined
    /** Directory of the image to show as the root. */
    readonly subdir?: PathText | undefined
  }
  /** An ext3 file system that takes them is opened as well. */
  readonly changes?: ChangesPlace | undefined
}

/** How a writable mount keeps its changes; each has a default that is found out at the mount. */
export interface UpperOptions {
  readonly fsync: 'auto' | 'strict' | 'volatile'
  /** After a volatile mount the work directory is refused until the user removes the sign, as with overlayfs. */
  readonly volatileSign: boolean
  /** Directories that lie in a layer can be renamed. */
  readonly redirectDir: boolean
  /** `xattr_permissions=`: owners are those of the files, or written down in attributes; found out where absent. */
  readonly recordOwners?: RecordOwners | undefined
  /** `xattr=`: namespace of the overlay's own attributes. */
  readonly markers?: 'user' | 'trusted' | undefined
  /** `size=`: bytes that the changes may take; ENOSPC beyond. */
  readonly size?: number | undefined
}

/** Where the changes of a writable mount go. Paths are absolute. */
export type ChangesPlace =
  /** FOLDER/persist and FOLDER/work, made where they are missing: atomfs' layout. */
  | { readonly kind: 'persist'; readonly folder: string }
  /** This directory; its work directory lies beside it. */
  | { readonly kind: 'upper'; readonly upper: string }
  /** Two directories that exist: the layout of overlayfs. An upper that is only shown needs no work directory. */
  | { readonly kind: 'pair'; readonly upper: PathText; readonly work?: PathText | undefined }
  /** In the runtime entry, for the time of the mount. */
  | { readonly kind: 'temporary' }
  /** The directory `upper` of an ext3 file system, which fuse2fs writes: the top of what is mounted, or another image. */
  | { readonly kind: 'ext3'; readonly image?: NamedSource | undefined }

/** A place that is a directory of this machine. */
export type DirectoryPlace = Exclude<ChangesPlace, { readonly kind: 'ext3' }>

/** A file system in a file, into which another program writes the changes. Open for writing, and locked. */
export interface UpperImage {
  /** As a user would name it. */
  readonly label: string
  readonly fd: number
  /** Bytes, from the start of the file. */
  readonly offset: number
}

/** One image, open, described and, where it has a root hash, verified as far as that took. */
export interface ImageSpec {
  /** Digest or path. */
  readonly label: string
  /** Name of its kind. */
  readonly kind: string
  readonly source: SourceSpec
  /** What stands over the source, the lowest first. */
  readonly transforms: readonly TransformSpec[]
  readonly facts: ImageFacts
  /** Other files that belong to it; absent for most kinds. */
  readonly blobs?: BlobsSpec
  /** It was made of a tar layer, and lies in the store. */
  readonly isOfTar?: true
}

/** A directory of this machine, open, as a layer. */
export interface DirectorySpec {
  /** Its path. */
  readonly label: string
  /** O_PATH descriptor. */
  readonly fd: number
  /** Attribute in which its owners are written down, where they are. */
  readonly ownerRecord?: string
  /** `redirect_dir=follow`. */
  readonly followsRedirects: boolean
}

/** An index into `images`, or a directory. */
export type LayerSpec = number | DirectorySpec

/** One mount, ready to be served: plain data that is handed to every thread. */
export interface MoleculeSpec {
  /** Each file once, however often it stands in the manifest. */
  readonly images: readonly ImageSpec[]
  /** Bottom layer first. */
  readonly layers: readonly LayerSpec[]
  /** A bare image file: shown as it is, without the rules of merging. */
  readonly plain: boolean
  /** Of an image in a layout: what its tag meant when it was resolved. */
  readonly manifestDigest?: string
  /** What people should know of the source, a line each. */
  readonly remarks?: readonly string[]
  readonly uid?: IdRule
  readonly gid?: IdRule
  readonly subdir?: string
  /** Largest block size of the images. */
  readonly blockSize: number
  /** Files and folders of the images, absolute: the mount point must not cover them. */
  readonly imagePaths: readonly PathText[]
  /** What will be the upper directory, once another program has mounted it. */
  readonly upperImage?: UpperImage
  /** Where changes go; absent in a read-only mount. */
  readonly upper?: UpperSpec
}

/** An upper directory, open, locked and, where it takes changes, clean. */
export interface UpperSpec {
  /** Absolute path of the upper directory, for messages. */
  readonly label: string
  readonly upperFd: number
  /** Absent where the upper is only seen. */
  readonly work?: WorkSpec
  readonly policy: UpperPolicy
  /** Directories that have something below may be renamed. */
  readonly redirectDir: boolean
  /** Bytes that it may take on its disk. */
  readonly size?: number | undefined
  /** Made for this mount: its root still has to get the attributes of the root below. */
  readonly fresh: boolean
  /** Removed with the mount. */
  readonly temporary: boolean
}

/** The work directory of an upper that takes changes. */
export interface WorkSpec {
  readonly label: string
  readonly fd: number
}

/** Descriptors of what lies below the upper directory, of images and of directories. */
export function layerDescriptors(spec: MoleculeSpec): readonly number[] {
  const files = spec.images.flatMap(({ source, blobs }) => [
    source.fd,
    ...(blobs === undefined ? [] : blobDescriptors(blobs)),
  ])
  return [...files, ...hostDirectories(spec).map(({ fd }) => fd)]
}

/** Whether every read of an image is compared with a root hash, or with what had the digest of its file. */
export function isVerified({ transforms }: ImageSpec): boolean {
  return transforms.some(({ kind }) => kind === 'verity' || kind === 'hashed')
}

/** Whether an image had the digest of its file when it was opened; its kind verifies what it reads from other blobs. */
export function isHashed({ transforms }: ImageSpec): boolean {
  return transforms.some(({ kind }) => kind === 'hashed')
}

/** The directories of the host among the layers. */
export function hostDirectories({ layers }: MoleculeSpec): readonly DirectorySpec[] {
  return layers.filter((layer) => typeof layer !== 'number')
}

/** Whether a directory of the host is among the layers. */
export function hasHostDirectories(spec: MoleculeSpec): boolean {
  return hostDirectories(spec).length > 0
}

/** Whether a mount may be written to: an upper without a work directory is shown, and stays as it is. */
export function takesChanges(upper: UpperSpec | undefined): boolean {
  return upper?.work !== undefined
}

/** What was made of a tar layer to read it. */
export interface TarReport {
  readonly how: 'indexed' | 'converted'
  /** Bytes of the index, or of the image, with its hash tree. */
  readonly bytes: number
  /** Places where a compressed blob can be entered; absent for one that was converted. */
  readonly checkpoints?: number
}

/** @returns undefined for an image that is the layer itself */
export function tarReport({ isOfTar, blobs, source, facts }: ImageSpec): TarReport | undefined {
  if (isOfTar !== true) return undefined
  const { size: bytes } = source
  if (blobs === undefined) return { how: 'converted', bytes }
  return { how: 'indexed', bytes, checkpoints: facts.counts?.['checkpoints'] ?? 0 }
}
