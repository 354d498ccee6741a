import { createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { FsError } from '../../base/index.ts'
import type { SectorCipher } from './sector-cipher.ts'

const NAMES: Readonly<Record<number, string>> = { 32: 'aes-128-xts', 64: 'aes-256-xts' }

/** One object of Node for each sector. */
export function openNodeXts(key: Uint8Array): SectorCipher | undefined {
  const name = NAMES[key.length]
  if (name === undefined) return undefined
  return new NodeXts(name, createSecretKey(key))
}

class NodeXts implements SectorCipher {
  readonly library = 'node:crypto'
  readonly #name: string
  #key: KeyObject | undefined
  readonly #iv = Buffer.alloc(16)

  constructor(name: string, key: KeyObject) {
    this.#name = name
    this.#key = key
  }

  decrypt(bytes: Uint8Array, sectorSize: number, number: number, step: number): void {
    if (this.#key === undefined) throw new FsError('EIO', 'a cipher that was closed')
    for (let at = 0, sector = number; at < bytes.length; at += sectorSize, sector += step) {
      this.#iv.writeUInt32LE(sector % 2 ** 32, 0)
      this.#iv.writeUInt32LE(Math.floor(sector / 2 ** 32), 4)
      const decipher = createDecipheriv(this.#name, this.#key, this.#iv)
      bytes.set(decipher.update(bytes.subarray(at, at + sectorSize)), at)
    }
  }

  /** Node overwrites the key when its object is collected. */
  close(): void {
    this.#key = undefined
  }
}
