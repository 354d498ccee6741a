import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ByteSource, FsError } from '../../src/base/index.ts'
import { type AppendedVerity, type AppendVerityOptions, appendVerityData } from '../../src/verity/index.ts'
import { thrownBy } from '../library/expectations.ts'

/** Bytes in memory, with a count of what was read and a hook that runs after each read. */
export class MemorySource implements ByteSource {
  readonly label = 'memory'
  readonly bytes: Uint8Array
  reads: { readonly position: number; readonly length: number }[] = []
  afterRead: (() => void) | undefined
  /** Byte positions that the disk does not give. */
  unreadable = new Set<number>()

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  get size(): number {
    return this.bytes.byteLength
  }

  readInto(position: number, target: Uint8Array): void {
    const end = position + target.byteLength
    if (position < 0 || end > this.size) throw new FsError('EIO', `memory: ${position}..${end} is outside`)
    for (const bad of this.unreadable) {
      if (bad >= position && bad < end) throw new FsError('EIO', `memory: byte ${bad} is unreadable`)
    }
    this.reads.push({ position, length: target.byteLength })
    target.set(this.bytes.subarray(position, end))
    this.afterRead?.()
  }

  flip(position: number): void {
    this.bytes[position] = (this.bytes[position] ?? 0) ^ 0x40
  }
}

/** Bytes without a period of a block; the golden root hashes are of these. */
export function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 12) * 7 + (i >> 9) * 5) & 255)
}

export interface VerityImage extends AppendedVerity {
  readonly source: MemorySource
}

/** Runs `action` with the path of a file that holds `bytes`. */
export function withFile<T>(bytes: Uint8Array, action: (path: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'verity-'))
  try {
    const path = join(folder, 'image')
    writeFileSync(path, bytes)
    return action(path)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** An image with verity data, in memory. */
export function verityImage(data: Uint8Array, options: AppendVerityOptions = {}): VerityImage {
  return withFile(data, (path) => {
    const appended = appendVerityData(path, options)
    return { ...appended, source: new MemorySource(new Uint8Array(readFileSync(path))) }
  })
}

/** The FsError that `action` throws. */
export const failureOf = (action: () => unknown): FsError => thrownBy(FsError, action)
