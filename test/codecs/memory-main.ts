import { COMPRESSOR_NAMES, type Codec } from '../../src/codecs/index.ts'
import { CANDIDATES, openCandidate } from '../../src/codecs/registry.ts'
import { ENCODERS } from './compress.ts'
import { textBytes } from './samples.ts'

/** What `memory.test.ts` reads: how much memory each decoder keeps from failures, bytes. */
export interface MemoryReport {
  readonly codec: string
  readonly failures: number
  readonly grown: number
}

const [failuresText] = process.argv.slice(2)
const failures = Number(failuresText)
/** Where a leak is certain, the machine is spared. */
const ENOUGH = 256 << 20
/** Room for the block size of most images: what a decoder may allocate for its output. */
const ROOM = new Uint8Array(128 << 10)

/** Memory in use: of the process, and what hangs on JavaScript objects, pages that nobody touched included. */
function used(): readonly number[] {
  for (let i = 0; i < 2; i++) globalThis.gc?.()
  const { rss, external, arrayBuffers } = process.memoryUsage()
  return [rss, external, arrayBuffers]
}

/** Blocks that fail at their beginning, in the middle and at their end. */
function damagedBlocks(name: Codec['name']): Uint8Array[] {
  return ENCODERS[name].flatMap((encoder) => {
    const stored = encoder.compress(textBytes(3000, 5))
    const flipped = [1, 20, 40, 60, 100, 200].map((position) => {
      const changed = Uint8Array.from(stored)
      changed.fill(0xff, position, position + 2)
      return changed
    })
    return [stored.slice(0, 6), stored.slice(0, stored.length >> 1), stored.slice(0, -1), ...flipped]
  })
}

function fail(codec: Codec, block: Uint8Array): boolean {
  try {
    codec.decode(block, ROOM)
    return false
  } catch {
    return true
  }
}

function measure(codec: Codec): MemoryReport {
  const blocks = damagedBlocks(codec.name).filter((block) => fail(codec, block))
  const again = (from: number, to: number): void => {
    for (let i = from; i < to && blocks.length > 0; i++) fail(codec, blocks[i % blocks.length] ?? ROOM)
  }
  again(0, 200)
  const before = used()
  let done = 0
  let grown = 0
  while (done < failures && grown < ENOUGH) {
    again(done, done + 500)
    done += 500
    grown = Math.max(...used().map((bytes, i) => bytes - (before[i] ?? 0)))
  }
  return { codec: `${codec.name} ${codec.library}`, failures: blocks.length === 0 ? 0 : done, grown }
}

const codecs = COMPRESSOR_NAMES.filter((name) => ENCODERS[name].length > 0).flatMap((name) =>
  CANDIDATES[name].map(openCandidate).filter((codec) => codec !== undefined),
)
process.stdout.write(JSON.stringify(codecs.map(measure)))
