/** Stands for the first block of a run without data. */
export const HOLE = 0

/** Blocks of a file that follow each other, in the file and in the file system. */
export interface BlockRun {
  /** Number in the file system of the first; `HOLE` where all read as zeros. */
  readonly first: number
  readonly count: number
}

/** More blocks than any file has. */
export const ALL_BLOCKS = 2 ** 40
