import { type ErrnoCode, FsError } from '../../src/base/index.ts'
import { Random } from '../library/trees/random.ts'

/** Something that takes bytes from outside. */
export interface FuzzTarget {
  readonly name: string
  /** Inputs it accepts, to begin from. */
  readonly samples: readonly Uint8Array[]
  /** Takes any bytes: returns, or throws an FsError with one of the codes; anything else is a bug. */
  readonly run: (bytes: Uint8Array) => void | Promise<void>
  /** EIO alone where absent. */
  readonly codes?: readonly ErrnoCode[]
}

export interface FuzzReport {
  readonly name: string
  readonly runs: number
  readonly refused: number
  /** Of one run, ms. */
  readonly slowest: number
}

/**
 * Runs a target on mutated samples. The same seed gives the same inputs.
 * @returns fails with the run and its input in hex at the first thing that must not happen
 */
export async function fuzz(target: FuzzTarget, runs: number, seed: number): Promise<FuzzReport> {
  const { name, samples, codes = ['EIO'] } = target
  for (const sample of samples) await target.run(sample)
  // Most inputs end in an error, and a stack costs more than all the rest.
  Error.stackTraceLimit = 0
  let refused = 0
  let slowest = 0
  for (let i = 0; i < runs; i += 1) {
    // Each run by itself, so that one that fails can be run alone.
    const input = mutate(new Random(seed * 0x9e37_79b1 + i), samples)
    const start = performance.now()
    try {
      const reading = target.run(input)
      if (reading !== undefined) await reading
    } catch (error) {
      if (!(error instanceof FsError) || !codes.includes(error.code)) {
        const text = Buffer.from(input).toString('hex')
        throw new Error(`${name}, seed ${seed}, run ${i}: ${String(error)}: ${text}`, { cause: error })
      }
      refused += 1
    }
    slowest = Math.max(slowest, performance.now() - start)
  }
  return { name, runs, refused, slowest }
}

const NUMBERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]

function mutate(random: Random, samples: readonly Uint8Array[]): Buffer {
  if (random.chance(1 / 32)) return random.bytes(random.int(0, 200))
  let bytes: Buffer = Buffer.from(random.pick(samples))
  for (let left = random.int(1, 4); left > 0; left -= 1) bytes = change(random, bytes, samples)
  return bytes
}

function change(random: Random, bytes: Buffer, samples: readonly Uint8Array[]): Buffer {
  if (bytes.length === 0) return random.bytes(random.int(1, 16))
  const at = random.int(0, bytes.length - 1)
  switch (random.int(0, 7)) {
    case 0:
    case 1:
      bytes.fill((bytes[at] ?? 0) ^ (1 << random.int(0, 7)), at, at + 1)
      return bytes
    case 2:
      bytes.fill(random.next() & 0xff, at, at + 1)
      return bytes
    case 3: {
      const number = Buffer.alloc(8, random.chance(0.5) ? 0 : 0xff)
      number.writeUInt32LE((random.pick(NUMBERS) + random.int(-2, 2)) >>> 0)
      number.copy(bytes, at, 0, random.pick([1, 2, 4, 8]))
      return bytes
    }
    case 4:
      return bytes.subarray(0, at)
    case 5:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random.int(1, 16))])
    case 6:
      return Buffer.concat([bytes.subarray(0, at), random.bytes(random.int(1, 16)), bytes.subarray(at)])
    default: {
      const other = random.pick(samples)
      const from = random.int(0, other.length)
      return Buffer.concat([
        bytes.subarray(0, at),
        other.subarray(from, from + random.int(0, 64)),
        bytes.subarray(at),
      ])
    }
  }
}
