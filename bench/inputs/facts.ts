/** What a right answer is for a tree, found by the same programs on the tree itself. */
export interface TreeFacts {
  /** Lines of `find`. */
  readonly entries: number
  /** Bytes of `tar cf - .` */
  readonly tarBytes: number
  /** Bytes of all regular files. */
  readonly contentBytes: number
  /** The one large file, and its size; absent where the tree has none. */
  readonly bigFile?: { readonly name: string; readonly bytes: number }
  /** Files with the names for each of the parallel readers, NUL-separated, relative to the root. */
  readonly readerLists: readonly string[]
  /** Programs that start from the tree. */
  readonly startUps: readonly StartUp[]
  /** A file with names to look up, NUL-separated, and how many they are. */
  readonly lookups?: { readonly list: string; readonly count: number }
}

export interface StartUp {
  readonly name: string
  /** Arguments and values may hold `@`, which becomes the mount point. */
  readonly command: readonly [string, ...string[]]
  readonly env: Readonly<Record<string, string>>
  /** What it prints, up to `@`. */
  readonly expected: string
}

/** One image to be mounted: by us as `source`, by the others as squashfs files. */
export interface Subject {
  /** Squashfs files, bottom first. */
  readonly images: readonly string[]
  /** SOURCE for our mount with root hashes, where there are any. */
  readonly verified?: string
  /** SOURCE for our mount without verification. */
  readonly unverified: string
  readonly facts: TreeFacts
}
