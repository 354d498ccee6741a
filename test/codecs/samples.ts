import { closeSync, openSync, readSync } from 'node:fs'

/** Deterministic pseudo-random numbers, 0 ≤ x < 2^32 (xorshift32). */
export function randomSource(seed: number): () => number {
  let state = seed | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

export function randomBytes(length: number, seed: number): Uint8Array {
  const next = randomSource(seed)
  return Uint8Array.from({ length }, () => next() >>> 13)
}

/** Words in random order: long and short matches, as in source code. */
export function textBytes(length: number, seed: number): Uint8Array {
  const next = randomSource(seed)
  const words = Array.from({ length: 300 }, () =>
    next()
      .toString(36)
      .slice(0, 2 + (next() % 9)),
  )
  let text = ''
  while (text.length < length) text += `${words[next() % words.length]}${next() % 9 === 0 ? '\n' : ' '}`
  return Buffer.from(text.slice(0, length), 'latin1')
}

/** Machine code of this Node. */
export function binaryBytes(length: number, position: number): Uint8Array {
  const bytes = new Uint8Array(length)
  const fd = openSync(process.execPath, 'r')
  try {
    if (readSync(fd, bytes, 0, length, position) !== length) throw new Error('node is shorter than expected')
  } finally {
    closeSync(fd)
  }
  return bytes
}

export interface Sample {
  readonly label: string
  readonly bytes: Uint8Array
}

const KIB = 1024

export const SAMPLES: readonly Sample[] = [
  { label: '1 byte', bytes: Uint8Array.of(0x5a) },
  { label: '13 bytes', bytes: Buffer.from('thirteen byte') },
  { label: '4 KiB of zeros', bytes: new Uint8Array(4 * KIB) },
  { label: '128 KiB of zeros', bytes: new Uint8Array(128 * KIB) },
  { label: '4 KiB of text', bytes: textBytes(4 * KIB, 3) },
  { label: '100003 bytes of text', bytes: textBytes(100003, 5) },
  { label: '128 KiB of machine code', bytes: binaryBytes(128 * KIB, 20 << 20) },
  { label: '8 KiB of noise', bytes: randomBytes(8 * KIB, 7) },
  { label: '128 KiB of noise', bytes: randomBytes(128 * KIB, 11) },
  { label: '1 MiB of machine code', bytes: binaryBytes(1024 * KIB, 24 << 20) },
  { label: '1 MiB of zeros', bytes: new Uint8Array(1024 * KIB) },
]
