/** Names, and the bytes of the files behind them. */
export interface Amount {
  /** Pieces; a directory is one. */
  readonly entries: number
  /** Sizes of regular files, bytes. A file that has several names in a layer counts at the first one. */
  readonly bytes: number
}

/** What one layer is in an image. */
export interface LayerUsage {
  /** Digest of the blob, or path. */
  readonly label: string
  /** All that the layer has, without marks. It is what it adds, replaces and merges. */
  readonly holds: Amount
  /** Where the layers below show nothing. */
  readonly adds: Amount
  /** In the place of what the layers below show; `coveredBytes` is the size of that. */
  readonly replaces: Amount & { readonly coveredBytes: number }
  /** Directories that the layers below have as well. */
  readonly merges: number
  /** What the layers below show and this one takes away, all that lies in such directories included. */
  readonly hides: Amount
  /** What of it the image shows. */
  readonly shows: Amount
  readonly whiteouts: number
  /** Directories that hide what those below them have. */
  readonly opaque: number
  /** The same layer stands again further up: it is counted there alone. */
  readonly repeated?: true
}

/** A large file of a layer. */
export interface LargeFile {
  /** From the root of the image, as `PathText`. */
  readonly path: string
  /** Index of the layer, bottom 0. */
  readonly layer: number
  readonly bytes: number
  /** Whether the image shows it: false where a layer above hides or replaces it. */
  readonly shown: boolean
}

/** A large directory of the image, with all that lies in it. */
export interface LargeDirectory {
  /** From the root of the image, as `PathText`. */
  readonly path: string
  /** What the image shows there. */
  readonly shows: Amount
  /** Bytes of the files that layers have there and the image does not show. */
  readonly hiddenBytes: number
}

/** What an image is made of. */
export interface ImageUsage {
  /** The finished tree. */
  readonly shows: Amount
  /** Bottom first. */
  readonly layers: readonly LayerUsage[]
  /** The largest, all layers together, largest first. */
  readonly files: readonly LargeFile[]
  /** The largest by what the image shows, without the root. */
  readonly directories: readonly LargeDirectory[]
  /** Names that cannot be looked at, and the reason of the first. They are not counted. */
  readonly unreadable: { readonly count: number; readonly first?: string }
}
