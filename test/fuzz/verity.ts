import { readSuperblock } from '../../squashfs/superblock.ts'
import { decodeVeritySuperblock, openVerity, VERITY_SUPERBLOCK_SIZE } from '../../src/verity/index.ts'
import { MemorySource, verityImage } from '../verity/support.ts'
import type { FuzzTarget } from './driver.ts'
import { richImage } from './images.ts'

const { bytes } = richImage()
const DATA = Buffer.concat([bytes, Buffer.alloc(-bytes.length & 4095)])
const IMAGE = verityImage(DATA)
const WHOLE = new Uint8Array(IMAGE.source.bytes)

/** The superblock of dm-verity, and an image with its tree, of which every block is read. */
export const VERITY_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'verity superblock',
    samples: [WHOLE.slice(DATA.length, DATA.length + VERITY_SUPERBLOCK_SIZE)],
    run: (input) => void decodeVeritySuperblock(input),
  },
  {
    name: 'verity image',
    samples: [WHOLE],
    run: (input) => {
      const source = new MemorySource(input)
      const dataLength = (some: typeof source) => readSuperblock(some).bytesUsed
      const verified = openVerity({ source, rootHash: IMAGE.rootHash, dataLength: dataLength as never })
      const block = new Uint8Array(Math.min(DATA.length, verified.size))
      verified.readInto(0, block)
      if (!DATA.subarray(0, block.length).equals(block)) throw new Error('wrong bytes were verified')
    },
    codes: ['EIO', 'EINVAL'],
  },
]
