import type { Random } from '../../library/trees/random.ts'

const WORD = 8
const NUMBERS = [0, 1, 2, 7, 8, 0x7f, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]

/** Damages metadata: bits, fields and pointers, words of another place. @returns a copy */
export function mutateMessage(random: Random, original: Buffer): Buffer {
  let bytes = Buffer.from(original)
  const words = (): number => Math.floor(bytes.length / WORD)
  const place = (): number => random.int(0, words() - 1) * WORD
  for (let left = random.int(1, 5); left > 0; left--) {
    // The table of segments and the root matter most.
    const at = random.chance(0.05) ? random.int(0, Math.min(7, words() - 1)) * WORD : place()
    switch (random.int(0, 7)) {
      case 0:
        flip(random, bytes, at + random.int(0, WORD - 1))
        break
      case 1:
        bytes.writeUInt32LE((random.pick(NUMBERS) + random.int(-1, 1)) >>> 0, at + random.pick([0, 4]))
        break
      case 2:
        bytes.writeUInt16LE(random.pick(NUMBERS) & 0xffff, at + random.pick([0, 2, 4, 6]))
        break
      case 3:
        // A pointer that leads some words further, or a count that is one more.
        bytes.writeUInt32LE((bytes.readUInt32LE(at) + random.pick([4, -4, 8, -8, 40])) >>> 0, at)
        break
      case 4:
        bytes.writeUInt32LE((bytes.readUInt32LE(at + 4) + random.pick([8, -8, 1, -1, 0x10000])) >>> 0, at + 4)
        break
      case 5:
        bytes.copy(bytes, at, place(), place() + WORD)
        break
      case 6:
        bytes.fill(random.pick([0, 0xff]), at, Math.min(bytes.length, at + WORD * random.int(1, 4)))
        break
      default:
        if (random.chance(0.2)) bytes = bytes.subarray(0, Math.max(WORD, at))
        else flip(random, bytes, at)
    }
  }
  return bytes
}

/** Damages a chunk as it is stored: its data, and the table of frames at its end most of all. @returns a copy */
export function mutateChunk(random: Random, original: Buffer): Buffer {
  const bytes = Buffer.from(original)
  const table = Math.max(0, bytes.length - 200)
  for (let left = random.int(1, 3); left > 0; left--) {
    const at = random.chance(0.6) ? random.int(table, bytes.length - 5) : random.int(0, bytes.length - 5)
    switch (random.int(0, 4)) {
      case 0:
        flip(random, bytes, at)
        break
      case 1:
        bytes.writeUInt32LE((random.pick(NUMBERS) + random.int(-1, 1)) >>> 0, at)
        break
      case 2:
        bytes.writeUInt32LE((bytes.readUInt32LE(at) + random.pick([1, -1, 4096, -4096])) >>> 0, at)
        break
      case 3:
        bytes.copy(bytes, at, random.int(table, bytes.length - 16), bytes.length)
        break
      default:
        return random.chance(0.5) ? bytes.subarray(0, at) : bytes.subarray(at)
    }
  }
  return bytes
}

function flip(random: Random, bytes: Buffer, at: number): void {
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7))
}
