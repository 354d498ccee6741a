import type { Stats } from 'node:fs'
import type { PathText } from '../path.ts'

/**
 * What SOURCE names: plain data, from the command line or the library to the end of the mount. Text of a user is read
 * once; a path or a tag may hold any character.
 */
export interface NamedSource {
  /** `Container.name` of what lies at the path. */
  readonly container: string
  /** Absolute; of an inherited descriptor `/dev/fd/N` or `/proc/self/fd/N`. */
  readonly path: PathText
  /** Which of several images, as the container has it. */
  readonly tag?: string
  /** `algorithm:hex` of a manifest or an index. */
  readonly digest?: string
  /** Byte position of the image in its file; 0 where absent. */
  readonly offset?: number
  /** `none`: of an image that has overlays of its own, the lowest part alone. */
  readonly overlays?: 'none'
}

/** What a user says of the parts of a container, beside SOURCE. */
export interface PartChoice {
  /** `partition=`: number of the only part to be shown. */
  readonly partition?: number | undefined
  /** `overlays=`: whether parts that are overlays are merged on top of it. */
  readonly overlays?: 'auto' | 'none' | undefined
}

/**
 * What holds images, or a tree to be shown: an image layout, a file, a directory. A container is one object and one line
 * in the list of `src/kinds/containers.ts`; nothing above that list names one.
 *
 * Who calls: the command reads SOURCE (`claims`, `read`, `atOffset`), and tells nothing of the bytes. The main thread of
 * the daemon, `inspect` and `verify` find the files (`find`). All calls are synchronous.
 *
 * Every method throws FsError with one line that does not repeat SOURCE; UsageError for an option that makes no sense.
 */
export interface Container {
  /** One word, unique among the containers: carries it from the command to the daemon. */
  readonly name: string
  /** What people call it, with its article: `an OCI image layout`. */
  readonly title: string
  /** How SOURCE names one of its images, for messages: `OCIDIR:TAG`. Absent: it has no more than one. */
  readonly form?: string
  /** What may stand before the path to say that this container is meant: `oci:`. */
  readonly prefix?: string
  /** It has to stand there: nobody looks for such a container by content. */
  readonly onlyByPrefix?: true
  /** Whether what lies at a path is such a container, by its content, never by its name. @param stats links followed */
  claims(path: PathText, stats: Stats): boolean
  /**
   * Reads what stands behind the path in SOURCE.
   * @param path as the user wrote it, claimed by this container
   * @param rest what follows the colon, or the `@` of a digest; undefined where the path is all
   * @returns undefined where such a text cannot follow: the path may end elsewhere
   * @throws FsError EINVAL where nothing else can be meant
   */
  read(path: PathText, rest: string | undefined): NamedSource | undefined
  /** As a user would write it; `read` makes the same source of it. */
  describe(source: NamedSource): PathText
  /** The same for the image at a byte of the file. @throws UsageError where nothing begins there */
  atOffset(source: NamedSource, offset: number): NamedSource
  /** The same for some of its parts. Absent: it has none to choose from. */
  withParts?(source: NamedSource, choice: PartChoice): NamedSource
  /** What lies in the file of a source, mountable or not, for `inspect`. Absent: nothing but the images. */
  list?(source: NamedSource): ContainerListing
  /**
   * The encrypted images among those that `find` gives, without looking at the others: commands ask before anything else
   * of a source is read. Absent: no image in such a container is encrypted. @throws FsError as `find`
   */
  locked?(source: NamedSource): readonly ImageFile[]
  /** Whether there may be tar layers, of which something has to be made before they can be read. Absent: never. */
  mayHoldArchives?(source: NamedSource): boolean
  /** Finds the files of a source, and checks what can be checked without their bytes. */
  find(source: NamedSource, wanted: FindRequest): FoundFiles
  /**
   * What the image says of how its program is started (image-spec: config.md), a JSON object of which nothing is checked.
   * Absent: images of this container say nothing of it.
   */
  config?(source: NamedSource): Readonly<Record<string, unknown>>
}

/** What a container holds, by the words of its format. */
export interface ContainerListing {
  /** Name of the container. */
  readonly kind: string
  /** Of the container as a whole. Times in seconds since 1970. */
  readonly facts: Readonly<Record<string, string | number>>
  readonly objects: readonly ContainedObject[]
  /** What people should know of its state, a line each: damage, for instance. */
  readonly remarks: readonly string[]
}

/** One thing in a container, mountable or not. Positions and sizes in bytes. */
export interface ContainedObject {
  readonly id: number
  /** As the tools of the format call it. */
  readonly type: string
  readonly group?: number
  /** What it speaks of. */
  readonly link?: { readonly object: number } | { readonly group: number }
  readonly offset: number
  readonly size: number
  /** Seconds since 1970. */
  readonly created?: number
  readonly modified?: number
  readonly name: string
  /** What is said of this type alone. */
  readonly details: Readonly<Record<string, string>>
}

/** Which layers can be mounted: known where the formats of images are. */
export interface MediaTypes {
  /** Name of the image kind that reads layers of a media type; undefined where none does. */
  readonly kindOf: (mediaType: string) => string | undefined
  /** Name of the kind of an image by its first 4 KiB, or all of a shorter one; undefined where it is of none. */
  readonly kindOfContent?: (head: Uint8Array) => string | undefined
  /** All that can be read, for messages. */
  readonly known: string
  /** Whether the other layers of a manifest belong to one with this media type (`ImageKind.standsAlone`). Absent: never. */
  readonly standsAlone?: (mediaType: string) => boolean
}

/** What is known of a source beside its place. */
export interface FindRequest {
  /** What the user calls the source, for messages. */
  readonly name: PathText
  /** Hex, from the user; for a source of one image. */
  readonly rootHash?: string | undefined
  /** What fs-verity says of a file with these bytes, hex: the root hash of an image that stands alone is that of its manifest. */
  readonly fsVerityOf?: (bytes: Uint8Array) => string
  readonly mediaTypes: MediaTypes
}

/** The files of a source. */
export interface FoundFiles {
  /** Bottom first; a repeated layer stands in the list again. */
  readonly layers: readonly FoundLayer[]
  /** Images with the data of files of the only layer, which knows them by their order. They are no layers. Absent: none. */
  readonly data?: readonly ImageFile[]
  /** One file system by itself, shown as it is, without the rules of merging. */
  readonly plain: boolean
  /** The container is where root hashes belong: an image without one is mounted only on request. */
  readonly expectsRootHashes: boolean
  /** Files and folders that are opened by their paths, absolute: the mount point must not cover them. */
  readonly imagePaths: readonly PathText[]
  readonly manifestDigest?: string
  /** What people should know, a line each, for the log: a part that was left out, for instance. */
  readonly remarks?: readonly string[]
}

/** An image, or a directory of this machine. */
export type FoundLayer = ImageFile | FoundDirectory

/** How an image can be encrypted. */
export type EncryptionForm = 'luks2' | 'gocryptfs'

/** What a container says of an image that is encrypted. */
export interface EncryptionNote {
  readonly form: EncryptionForm
  /** Holds the key, encrypted for an RSA key. */
  readonly message?: Uint8Array
  /** What form of such a message there is that is not read, where there is one, and no other. */
  readonly unread?: string
  /** Content of `gocryptfs.conf`, where it lies beside the image, which then is an encrypted file. Absent: it is in the image. */
  readonly config?: Uint8Array
}

/** One image in a file or on a block device. */
export interface ImageFile {
  /** Unique in the mount: layers with one label are one image. A digest, or a path. */
  readonly label: string
  readonly path: PathText
  /** Opens it where a path does not suffice; by default what `path` leads to is opened. @returns a descriptor */
  readonly open?: () => number
  /** Opens the folder of its layout in which a blob lies, by the digest of the blob. Absent: its layout is no folder. */
  readonly openBlobFolder?: (digest: string) => number
  /** Of a layout in one file: where its blobs are. Absent: the image is in no such layout. */
  readonly blobParts?: BlobParts
  /** Byte position of the image in the file; 0 where absent. */
  readonly offset?: number
  /** Bytes of the file from `offset` that belong to the image; by default all. */
  readonly length?: number
  /** Hex. */
  readonly rootHash?: string
  /** `algorithm:hex` of the whole file, given for kinds that are verified by it (`ImageKind.isVerifiedByDigest`). */
  readonly digest?: string
  /** The fs-verity digest that the file must have, hex. */
  readonly fsVerity?: string
  /** Name of its kind, where the container says so; another one is known by its content. */
  readonly kind?: string
  readonly mediaType?: string
  /** `algorithm:hex` of the bytes of the image, as far as they are known; compared on request, before the mount. */
  readonly digests?: readonly string[]
  /** Digest of the archive of a layer without compression, where the image has one. */
  readonly diffId?: string
  /** Of the index of an archive: the archive. */
  readonly blob?: ImageFile
  /** Its bytes are encrypted. Absent: its content says whether they are. */
  readonly encryption?: EncryptionNote
}

/** Blobs that are parts of one file. */
export interface BlobParts {
  /** Opens the file. @returns a descriptor */
  open(): number
  /** Where a blob lies, by its digest. @throws FsError ENOENT */
  place(digest: string): { readonly offset: number; readonly length: number }
}

/** A directory of this machine as a layer. */
export interface FoundDirectory {
  readonly directory: PathText
  /** What it is, for messages: `lower directory`. */
  readonly what: string
  /** Directories that were renamed in an overlay are continued where their redirects lead. */
  readonly followsRedirects: boolean
  /** Attribute in which its owners are written down, where that is known; else it is found out. */
  readonly ownerRecord?: string
}

/** Whether a layer is a directory of this machine. */
export function isFoundDirectory(layer: FoundLayer): layer is FoundDirectory {
  return 'directory' in layer
}

/** Whether a layer is an image. */
export function isImageFile(layer: FoundLayer): layer is ImageFile {
  return !isFoundDirectory(layer)
}
