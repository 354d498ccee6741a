/** What a right answer is for a tree, found by the same programs on the tree itself. */
export interface TreeFacts {
  /** Lines of `find`. */
  readonly entries: number
  /** Bytes of `tar cf - .` */
  readonly tarBytes: number
  /** Bytes of all regular files. */
  readonly contentBytes: number
  /** The one large file, and its size; absent where the tree has none. The digest where its bytes are checked. */
  readonly bigFile?: { readonly name: string; readonly bytes: number; readonly sha256?: string }
  /** Files with the names for each of the parallel readers, NUL-separated, relative to the root. */
  readonly readerLists: readonly string[]
  /** Programs that start from the tree. */
  readonly startUps: readonly StartUp[]
  /** Lines that the programs print which ask for extended attributes; absent where the tree was not made for them. */
  readonly attributeLines?: AttributeLines
  /** A file with names to look up, NUL-separated, and how many they are. */
  readonly lookups?: { readonly list: string; readonly count: number }
}

/** Lines of `ls -laR`, `getfattr -R -d -m -` and `getcap -r`. */
export interface AttributeLines {
  readonly ls: number
  readonly getfattr: number
  readonly getcap: number
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
  /** SOURCE of a squashfs image of the same tree with a root hash, where another format is to be compared with it. */
  readonly squashfs?: string
  /** Of a SIF file: where its partitions begin, bytes. */
  readonly sif?: { readonly squashfs: number; readonly ext3?: number }
  /** Of an image of one tar layer: its blob, and the names in it with their bytes. */
  readonly tar?: { readonly blob: string; readonly names: number; readonly nameBytes: number }
  /** Where we keep what we make of tar layers: each build in a folder of its own. */
  readonly store?: string
  /** Of an encrypted image. */
  readonly passphraseFile?: string
  /** The file that a mount reads as a whole before it is ready; absent where there is none. */
  readonly metadata?: string
  readonly facts: TreeFacts
  /** The directory that the image was made of, where it is kept. */
  readonly tree?: string
  /** Where the mount is written to: what of these the scenario needs. */
  readonly writes?: WriteFacts
}

/** What is written into a mount, and what must come of it. */
export interface WriteFacts {
  readonly smallFiles?: number
  /** Bytes of one file that is written from its first to its last. */
  readonly sequentialBytes?: number
  readonly random?: RandomWrites
  /** A tar file, and what `find` and `tar cf - .` say of its content. */
  readonly archive?: { readonly path: string; readonly entries: number; readonly tarBytes: number }
  /** A directory of the image that several layers have, and the names in it, itself among them. */
  readonly moved?: { readonly directory: string; readonly entries: number }
}

export interface RandomWrites {
  /** Of the file, which is full of zeros before. */
  readonly fileBytes: number
  /** Writes of 4 KiB, each at another place. */
  readonly writes: number
  /** fsync(2) after so many writes; 0 for never. */
  readonly fsyncAfter: number
  /** Digest of the file after the same writes outside of any mount. */
  readonly sha256: string
}
