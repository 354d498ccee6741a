import type { PathText } from '../../base/index.ts'
import type { Descriptor, Digest, ImageConfig } from '../../oci/index.ts'
import type { LeftOut, TreeItems } from '../tree-item.ts'

/** An image that is to be converted, before its layers are read. */
export interface SourceImage {
  /** Absent: a tree without one. */
  readonly config?: ImageConfig
  /** Annotations of the manifest. */
  readonly annotations?: Readonly<Record<string, string>> | undefined
  /** What the index says of the manifest. */
  readonly platform?: Descriptor['platform']
  /** Bottom first. */
  readonly layers: readonly SourceLayer[]
  /** Ends the use of its files. */
  close(): void
}

export type SourceLayer = TarLayer | SquashfsLayer | DirectoryLayer | TreeLayer

interface NamedLayer {
  /** For messages: `layer 1 of 3, sha256:…`. */
  readonly label: string
  /** Bytes of its files, about, for those who show how far the work is: costs a walk through them. */
  readonly measure?: () => number
}

/** A layer whose bytes come in order. */
export interface StoredLayer extends NamedLayer {
  /** Of the bytes that `open` gives; of the archive where those are not known. Absent: not known before they are read. */
  readonly digest?: Digest | undefined
  /** Bytes that `open` gives, where that is known. */
  readonly size?: number | undefined
  /** May be called more than once, except for standard input. */
  readonly open: () => AsyncIterable<Uint8Array>
}

export interface TarLayer extends StoredLayer {
  readonly form: 'tar'
  /** Of the archive without compression. */
  readonly diffId?: Digest | undefined
}

export interface SquashfsLayer extends StoredLayer {
  readonly form: 'squashfs'
  /** As the manifest of the source has it; absent for a file by itself. */
  readonly descriptor?: Descriptor
}

export interface DirectoryLayer extends NamedLayer {
  readonly form: 'directory'
  readonly directory: PathText
}

/** A layer that somebody makes. */
export interface TreeLayer extends NamedLayer {
  readonly form: 'tree'
  readonly items: (leftOut: LeftOut) => TreeItems
}
