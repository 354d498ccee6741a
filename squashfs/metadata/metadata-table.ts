import { DamageError } from '../../src/base/index.ts'
import type { MetadataBlock } from './metadata-cache.ts'
import type { MetadataReader, MetadataWindow } from './metadata-reader.ts'

/** A run of consecutive metadata blocks, [start, end) in the image: no reference leads out of it. */
export class MetadataTable {
  readonly start: number
  readonly end: number
  readonly what: string
  readonly #reader: MetadataReader
  readonly #window: MetadataWindow

  constructor(reader: MetadataReader, start: number, end: number, name: string) {
    this.#reader = reader
    this.start = start
    this.end = end
    this.what = `${reader.label}: ${name}`
    this.#window = reader.window(start, end)
  }

  /** @param position byte position in the image */
  block(position: number): MetadataBlock {
    if (position < this.start || position >= this.end) {
      throw this.damage(position, `block at ${position} outside ${this.start}..${this.end}`)
    }
    return this.#reader.block(position, this.end, this.#window, this.what)
  }

  /** @param position of what is damaged, in the image */
  damage(position: number, message: string): DamageError {
    return new DamageError(this.#reader.label, position, `${this.what}: ${message}`)
  }
}
