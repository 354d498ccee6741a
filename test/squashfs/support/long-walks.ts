import { deflateSync } from 'node:zlib'
import { type Codec, openCodec } from '../../../src/codecs/index.ts'
import { assemble, type BuiltImage, inodeBase, metadata, run } from './builder.ts'
import { cat, text, u16, u32, u64 } from './bytes.ts'

/** Images of a few MB whose metadata decode to gigabytes: what one request walks in one go is theirs to say. */

const NONE = 0xffff_ffff
const METADATA_SIZE = 8192

/** A compressed metadata block that decodes to `bytes`. */
function compressed(bytes: Uint8Array): Uint8Array {
  const stored = deflateSync(bytes, { level: 9 })
  return cat(u16(stored.length), stored)
}

function repeated(block: Uint8Array, count: number): Uint8Array {
  const bytes = Buffer.alloc(block.length * count)
  for (let i = 0; i < count; i++) bytes.set(block, i * block.length)
  return bytes
}

/** Metadata blocks that decode to `length` zeros or a little more. */
function zeros(length: number): Uint8Array {
  return repeated(compressed(new Uint8Array(METADATA_SIZE)), Math.ceil(length / METADATA_SIZE))
}

function extendedDirectory(number: number, size: number, index = 0): Uint8Array {
  return cat(inodeBase(8, number, 0o755), u32(2), u32(size), u32(0), u32(0), u16(index), u16(0), u32(NONE))
}

/** The first inode at the start of a block, then whatever continues it, then the root in a block of its own. */
function withTail(inode: Uint8Array, tail: Uint8Array, root: Uint8Array) {
  const before = cat(metadata(inode), tail)
  return {
    refs: [0, before.length * METADATA_SIZE],
    root: before.length * METADATA_SIZE,
    inodeCount: 2,
    inodeTable: cat(before, metadata(root)),
  }
}

/** One file, `f`, whose list has so many blocks and nothing but holes, except one stored block where `data` says. */
export function holes(blocks: number, blockSize: number, data?: number): BuiltImage {
  const inode = cat(
    inodeBase(9, 1),
    u64(96),
    u64(blocks * blockSize),
    u64(0),
    u32(1),
    u32(NONE),
    u32(0),
    u32(NONE),
  )
  const perBlock = METADATA_SIZE / 4
  let tail = zeros(blocks * 4)
  if (data !== undefined) {
    const middle = new Uint8Array(METADATA_SIZE)
    middle.set(u32((1 << 24) | 5), (data % perBlock) * 4)
    const before = Math.floor(data / perBlock)
    const after = Math.ceil(blocks / perBlock) - before - 1
    tail = cat(zeros(before * METADATA_SIZE), compressed(middle), zeros(after * METADATA_SIZE))
  }
  const listing = run(1, [{ name: 'f', offset: 0, type: 2 }])
  return assemble({
    data: text('hello'),
    ...withTail(inode, tail, extendedDirectory(2, listing.length + 3)),
    directoryTable: metadata(listing),
    blockSize,
  })
}

/** A root of so many metadata blocks of names, which `blockOf` gives. */
function rootOf(blocks: readonly Uint8Array[], decoded: number): BuiltImage {
  const file = cat(inodeBase(2, 1), u32(96), u32(NONE), u32(0), u32(0))
  return assemble({
    ...withTail(file, new Uint8Array(0), extendedDirectory(2, decoded + 3)),
    directoryTable: Buffer.concat(blocks),
  })
}

/** A root that lists the name `a` some 750 times in each of its metadata blocks. */
export function equalNames(blocks: number): BuiltImage {
  const entries = Array.from({ length: 256 }, () => ({ name: 'a', offset: 0, type: 2 }))
  const three = cat(run(1, entries), run(1, entries), run(1, entries))
  return rootOf([repeated(compressed(three), blocks)], three.length * blocks)
}

/** A root with so many names in order, `000000000` and on, 250 to the header, and no index. */
export function manyNames(count: number): BuiltImage {
  const blocks: Uint8Array[] = []
  let decoded = 0
  for (let at = 0; at < count; at += 250) {
    const entries = Array.from({ length: Math.min(250, count - at) }, (_, i) => ({
      name: String(at + i).padStart(9, '0'),
      offset: 0,
      type: 2,
    }))
    const block = run(1, entries)
    blocks.push(compressed(block))
    decoded += block.length
  }
  return rootOf(blocks, decoded)
}

/** As `manyNames`, with an index that has an entry for each name, which is more than any writer makes. */
export function indexedNames(count: number): BuiltImage {
  const listing: Uint8Array[] = []
  const index: Uint8Array[] = []
  let position = 0
  for (let at = 0; at < count; at++) {
    const name = String(at).padStart(9, '0')
    const one = run(1, [{ name, offset: 0, type: 2 }])
    // The block is that of the position, as if nothing were compressed.
    const block = Math.floor(position / METADATA_SIZE) * (METADATA_SIZE + 2)
    index.push(cat(u32(position), u32(block), u32(name.length - 1), text(name)))
    listing.push(one)
    position += one.length
  }
  const file = metadata(cat(inodeBase(2, 1), u32(96), u32(NONE), u32(0), u32(0)))
  const root = cat(extendedDirectory(2, position + 3, count), ...index)
  return assemble({
    inodeCount: 2,
    refs: [0, file.length * METADATA_SIZE],
    root: file.length * METADATA_SIZE,
    inodeTable: cat(file, metadata(root)),
    directoryTable: metadata(cat(...listing)),
  })
}

/** One file with so many attributes, `user.0` and on, of so many bytes each. */
export function manyValues(count: number, size: number): BuiltImage {
  const file = cat(inodeBase(9, 1), u64(96), u64(0), u64(0), u32(1), u32(NONE), u32(0), u32(0))
  const listing = run(1, [{ name: 'f', offset: 0, type: 2 }])
  const pairs = Array.from({ length: count }, (_, i) => {
    const name = text(String(i))
    return cat(u16(0), u16(name.length), name, u32(size), new Uint8Array(size).fill(i))
  })
  return assemble({
    ...withTail(file, new Uint8Array(0), extendedDirectory(2, listing.length + 3)),
    directoryTable: metadata(listing),
    xattrs: { pairs: metadata(cat(...pairs)), sets: [[0n, count, 100]] },
  })
}

/** A root that says that its listing has so many bytes; few of them are there. */
export function longListing(bytes: number): BuiltImage {
  const block = run(1, [{ name: 'a', offset: 0, type: 2 }])
  return rootOf([metadata(block)], bytes)
}

/** One file with two attributes, `user.first` of so many zeros, and `user.second`. */
export function longAttribute(bytes: number): BuiltImage {
  const file = cat(inodeBase(9, 1), u64(96), u64(0), u64(0), u32(1), u32(NONE), u32(0), u32(0))
  const listing = run(1, [{ name: 'f', offset: 0, type: 2 }])
  const first = metadata(cat(u16(0), u16(5), text('first'), u32(bytes)))
  const second = metadata(cat(u16(0), u16(6), text('second'), u32(5), text('value')))
  return assemble({
    ...withTail(file, new Uint8Array(0), extendedDirectory(2, listing.length + 3)),
    directoryTable: metadata(listing),
    xattrs: { pairs: cat(first, zeros(bytes), second), sets: [[0n, 2, 100]] },
  })
}

/** A root whose index has one entry, with a name of so many zeros. */
export function longIndex(bytes: number): BuiltImage {
  const listing = run(1, [{ name: 'f', offset: 0, type: 2 }])
  const file = metadata(cat(inodeBase(2, 1), u32(96), u32(NONE), u32(0), u32(0)))
  const root = cat(extendedDirectory(2, listing.length + 3, 1), u32(0), u32(0), u32(bytes - 1))
  return assemble({
    inodeCount: 2,
    refs: [0, file.length * METADATA_SIZE],
    root: file.length * METADATA_SIZE,
    inodeTable: cat(file, metadata(root), zeros(bytes)),
    directoryTable: metadata(listing),
  })
}

/** Counts the metadata blocks that were decoded. */
export class CountingCodec implements Codec {
  readonly #codec = openCodec('gzip')
  readonly name = 'gzip'
  readonly tier = this.#codec.tier
  readonly library = this.#codec.library
  decoded = 0

  decode(input: Uint8Array, output: Uint8Array): number {
    this.decoded += 1
    return this.#codec.decode(input, output)
  }
}
