import { randomBytes } from 'node:crypto'
import { readSeekTable } from '../../puzzlefs/chunks/seek-table.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { seekable, stored } from '../puzzlefs/support/chunks.ts'
import type { Segmentation } from '../puzzlefs/support/message-builder.ts'
import { buildRootfs, type InodeDefinition, TAGS } from '../puzzlefs/support/rootfs-builder.ts'
import { walkPuzzle } from '../puzzlefs/support/walk.ts'
import type { FuzzTarget } from './driver.ts'

const CHUNK = stored(Buffer.from('hello\n'))
const STORE = new Map([[CHUNK.hex, CHUNK.bytes]])
const INODES: readonly InodeDefinition[] = [
  {
    ino: 1,
    tag: TAGS.dir,
    entries: [
      ['d', 2],
      ['f', 3],
      ['g', 3],
      ['l', 4],
      ['n', 5],
      ['w', 6],
    ],
  },
  { ino: 2, tag: TAGS.dir, entries: [['x', 3]] },
  { ino: 3, tag: TAGS.file, chunks: [{ digest: CHUNK.digest, length: 6 }], xattrs: [['user.a', 'b']] },
  { ino: 4, tag: TAGS.lnk, target: 'there' },
  { ino: 5, tag: TAGS.chr, device: [1, 3] },
  { ino: 6, tag: TAGS.wht },
]
const SEGMENTATIONS: readonly Segmentation[] = ['one', 'far', 'double far']
const TABLE = seekable(randomBytes(9000), 4096, true)

/** The metadata of PuzzleFS images, and the table of frames in their chunks. */
export const PUZZLEFS_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'PuzzleFS metadata',
    samples: SEGMENTATIONS.map((segmentation) =>
      buildRootfs({ layers: [INODES, INODES], chunks: [[CHUNK.digest, CHUNK.verity]], segmentation }),
    ),
    run: (input) => void walkPuzzle(memorySource(input), STORE, { names: 200, fileBytes: 1 << 16 }),
    codes: ['EIO', 'EINVAL'],
  },
  {
    name: 'zstd seek table',
    samples: [TABLE],
    run: (input) => {
      const { stored: places, frames } = readSeekTable(input)
      if ((places[frames] ?? 0) > input.length) throw new Error('frames outside of the chunk')
    },
  },
]
