import { hash } from 'node:crypto'
import type { BlockRef } from '../../src/base/index.ts'
import { BlockIndex } from '../../src/fuse/blocks/block-index.ts'
import { allocateShared } from '../../src/fuse/blocks/shared-cache.ts'
import { SLOT_READY, Slots } from '../../src/fuse/blocks/slots.ts'
import { findAlgorithm } from '../../src/verity/algorithm.ts'
import { blockDigest } from '../../src/verity/block-digest.ts'
import { Random } from '../../test/library/trees/random.ts'
import { repeat } from './protocol.ts'
import type { MicroCase } from './timer.ts'

const BLOCK = 4096
const HASHED_BLOCKS = 256
const SLOTS = 512

/** What happens to a block beside its decoding: verification and its place in the cache. */
export function blockCases(): MicroCase[] {
  return [...hashCases(), ...cacheCases()]
}

function hashCases(): MicroCase[] {
  const algorithm = findAlgorithm('sha256')
  if (algorithm === undefined) return []
  const random = new Random(3)
  const blocks = Array.from({ length: HASHED_BLOCKS }, () => random.bytes(BLOCK))
  const digest = blockDigest(algorithm, 1, random.bytes(32), BLOCK)
  const expected = blocks.map(digest)
  return [
    {
      name: 'verify 4 KiB',
      operation: 'salted SHA-256 and its comparison',
      bytes: BLOCK,
      run: (count) =>
        repeat(count, (i) => {
          const block = blocks[i % HASHED_BLOCKS]
          return block !== undefined && digest(block) === expected[i % HASHED_BLOCKS] ? 1 : 0
        }),
    },
    {
      name: 'SHA-256 of 4 KiB',
      operation: 'the hash alone, for comparison',
      bytes: BLOCK,
      run: (count) => repeat(count, (i) => hash('sha256', blocks[i % HASHED_BLOCKS] ?? '', 'binary').length),
    },
  ]
}

function cacheCases(): MicroCase[] {
  return [
    { name: 'block index, hit', operation: 'acquire and unpin', run: acquireBlocks(SLOTS) },
    { name: 'block index, miss', operation: 'acquire with eviction, unpin', run: acquireBlocks(SLOTS * 4) },
  ]
}

/** A reader that goes through `count` blocks in a scrambled order, again and again. */
function acquireBlocks(blockCount: number): (count: number) => number {
  // Small slots: their bytes are not touched.
  const slots = new Slots(allocateShared(BLOCK, BLOCK * SLOTS, 1))
  const index = new BlockIndex(slots)
  const blocks = Array.from(
    { length: blockCount },
    (_, i): BlockRef => ({
      source: i % 5,
      position: i * 50_000,
      storedSize: 50_000,
      kindBits: 0,
      maxSize: BLOCK,
    }),
  )
  let next = 0
  return (count) =>
    repeat(count, () => {
      next = (next + 1087) % blockCount
      const block = blocks[next]
      const slot = block === undefined ? undefined : index.acquire(block)
      if (slot === undefined) return 0
      if (slots.state(slot) !== SLOT_READY) slots.setState(slot, SLOT_READY)
      slots.unpin(slot)
      return slot
    })
}
