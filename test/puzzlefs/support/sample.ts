import { Random } from '../../library/trees/random.ts'
import { type StoredChunk, seekable, stored } from './chunks.ts'
import { buildRootfs, type ChunkDefinition, type InodeDefinition, TAGS } from './rootfs-builder.ts'

/** A chunk and what it holds. */
export interface SampleChunk extends StoredChunk {
  readonly plain: Buffer
  readonly compressed: boolean
}

/** An image with each form of what an inode may be, in two layers of metadata. */
export interface SampleImage {
  readonly name: string
  readonly rootfs: Buffer
  readonly chunks: readonly SampleChunk[]
}

const random = new Random(19)
const raw = (plain: Buffer): SampleChunk => ({ ...stored(plain), plain, compressed: false })
const packed = (plain: Buffer, checksums: boolean): SampleChunk => ({
  ...stored(seekable(plain, 4096, checksums)),
  plain,
  compressed: true,
})

export const SAMPLE_CHUNKS: readonly SampleChunk[] = [
  raw(random.bytes(20_000)),
  raw(random.text(9000)),
  packed(random.text(60_000), false),
  packed(random.text(30_000), true),
]

const directory = (ino: number, entries: readonly (readonly [string, number])[]): InodeDefinition => ({
  ino,
  tag: TAGS.dir,
  permissions: 0o755,
  entries,
})

function inodes(chunks: readonly SampleChunk[]): readonly (readonly InodeDefinition[])[] {
  const piece = (index: number, offset: number, length: number): ChunkDefinition => {
    const { digest, compressed } = chunks[index]!
    return { digest, offset, length, compressed }
  }
  const whole = (index: number): ChunkDefinition => piece(index, 0, chunks[index]!.plain.length)
  const small = Array.from({ length: 120 }, (_, i): InodeDefinition => {
    const content = [piece(i % 4, i * 70, 300 + i)]
    return { ino: 40 + i, tag: TAGS.file, permissions: 0o600 + (i % 64), uid: i, gid: 2 * i, chunks: content }
  })
  const below: readonly InodeDefinition[] = [
    directory(1, [['old', 3]]),
    { ino: 2, tag: TAGS.fifo },
    { ino: 3, tag: TAGS.file, chunks: [whole(1)] },
  ]
  return [
    [
      directory(1, [
        ['gone', 4],
        ['all', 5],
        ['devices', 6],
        ['fifo', 2],
        ['link', 7],
        ['many', 8],
        ['noise', 9],
        ['other', 10],
        ['socket', 11],
      ]),
      { ino: 4, tag: TAGS.wht },
      {
        ino: 5,
        tag: TAGS.file,
        permissions: 0o4755,
        chunks: [whole(2), whole(0), piece(3, 4000, 9000), whole(1)],
        xattrs: [
          ['user.a', 'value'],
          ['security.other', '\x01\x00\x00\x02'],
        ],
      },
      directory(6, [
        ['block', 12],
        ['character', 13],
        ['.wh.name', 9],
      ]),
      { ino: 7, tag: TAGS.lnk, permissions: 0o777, target: '../where/it/leads' },
      directory(
        8,
        small.map(({ ino }, i) => [`name-${i}`, Number(ino)]),
      ),
      { ino: 9, tag: TAGS.file, chunks: [whole(0)] },
      { ino: 10, tag: TAGS.file, chunks: [whole(3), piece(2, 1, 1)] },
      { ino: 11, tag: TAGS.sock },
      { ino: 12, tag: TAGS.blk, device: [259, 70_000] },
      { ino: 13, tag: TAGS.chr, device: [1, 3] },
      ...small,
    ],
    below,
  ]
}

const SEGMENTATIONS = ['one', 'far', 'double far'] as const

/** @param chunks other ones in the same order, for an image whose chunks were damaged before they got their names */
export function sampleImages(chunks: readonly SampleChunk[] = SAMPLE_CHUNKS): readonly SampleImage[] {
  const table = [...chunks]
    .sort((a, b) => Buffer.compare(a.digest, b.digest))
    .map(({ digest, verity }) => [digest, verity] as const)
  return SEGMENTATIONS.map((segmentation) => ({
    name: segmentation,
    rootfs: buildRootfs({ layers: inodes(chunks), chunks: table, segmentation }),
    chunks,
  }))
}
