import type { Inputs } from '../inputs/index.ts'
import type { Scenario } from './scenario.ts'
import {
  measureCopyUp,
  measureRandomWrites,
  measureRemoveTree,
  measureRename,
  measureSequential,
  measureSmallFiles,
  measureUnpack,
} from './writes.ts'

/** Heading of the rows for writable mounts, whatever the image. */
export const WRITABLE = 'writable'

/**
 * Rows that walk through merged directories. fuse-overlayfs 1.10 on the kernel's mounts is not among them: it shows the
 * inode numbers of the layers, which are the same in each, so that mv(1) and rm(1) find a directory in itself.
 */
const TREE_READERS = ['ours', 'fuse-overlayfs', 'kernel-overlay']
const READERS = [...TREE_READERS, 'fuse-overlayfs-kernel']

/** Rows in which it matters who collects writes. */
const DATA_READERS = [...READERS, 'ours-writethrough']
/** Rows in which something is written through to the disk. */
const SYNC_READERS = [...DATA_READERS, 'ours-volatile']

const SMALL_FILE_ROWS = ['writable-create', 'writable-read-warm', 'writable-read-cold', 'writable-delete']

type Part = Pick<Scenario, 'name' | 'readers' | 'main' | 'subject' | 'measure'> & {
  /** The name if absent. */
  readonly rows?: readonly string[]
}

const PARTS: readonly Part[] = [
  {
    name: 'writable-files',
    rows: [...SMALL_FILE_ROWS, 'rss-peak', 'pss'],
    readers: DATA_READERS,
    main: true,
    subject: (inputs) => inputs.smallFiles(),
    measure: measureSmallFiles,
  },
  {
    name: 'writable-unpack',
    readers: DATA_READERS,
    main: true,
    subject: (inputs) => inputs.archive(),
    measure: measureUnpack,
  },
  ...(['append', 'chmod'] as const).map((change) => ({
    name: `writable-copy-up-${change}`,
    readers: [...READERS, 'ours-volatile'],
    main: false,
    subject: (inputs: Inputs) => inputs.largeFile(),
    measure: measureCopyUp(change),
  })),
  ...(['1M', '64k'] as const).map((blockSize) => ({
    name: `writable-sequential-${blockSize}`.toLowerCase(),
    readers: DATA_READERS,
    main: false,
    subject: (inputs: Inputs) => inputs.sequential(),
    measure: measureSequential(blockSize),
  })),
  {
    name: 'writable-random',
    readers: DATA_READERS,
    main: false,
    subject: (inputs) => inputs.randomWrites(0),
    measure: measureRandomWrites('writable-random'),
  },
  {
    name: 'writable-random-fsync',
    readers: SYNC_READERS,
    main: false,
    subject: (inputs) => inputs.randomWrites(32),
    measure: measureRandomWrites('writable-random-fsync'),
  },
  {
    name: 'writable-rename',
    readers: TREE_READERS,
    main: false,
    subject: (inputs) => inputs.moved(),
    measure: measureRename,
  },
  {
    name: 'writable-remove',
    readers: TREE_READERS,
    main: false,
    subject: (inputs) => inputs.layers(5, 'zstd'),
    measure: measureRemoveTree,
  },
]

/** The rows of writable mounts that have a goal: all but those of memory. */
export const WRITABLE_ROWS: readonly string[] = PARTS.flatMap(({ name, rows }) => rows ?? [name]).filter(
  (row) => row.startsWith('writable-'),
)

export function writable(): Scenario[] {
  return PARTS.map((part) => ({ rows: [part.name], ...part, input: WRITABLE, writable: true }))
}
