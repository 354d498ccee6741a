import { type ByteSource, checkRange, FsError } from '../base/index.ts'

/** A part of another source, such as an image at an offset in a file. */
export class WindowSource implements ByteSource {
  readonly size: number
  readonly label: string
  readonly #source: ByteSource
  readonly #start: number

  /** @param length bytes; by default to the end. @throws FsError EINVAL where the window exceeds the source */
  constructor(source: ByteSource, start: number, length: number = source.size - start) {
    if (!Number.isSafeInteger(start) || start < 0 || !(length >= 0) || start + length > source.size) {
      throw new FsError('EINVAL', `${source.label}: window ${start}+${length} outside ${source.size} bytes`)
    }
    this.#source = source
    this.#start = start
    this.size = length
    this.label = source.label
  }

  readInto(position: number, target: Uint8Array): void {
    checkRange(this, position, target.length)
    this.#source.readInto(this.#start + position, target)
  }

  isAtHand(position: number, length: number): boolean {
    return this.#source.isAtHand?.(this.#start + position, length) !== false
  }

  willNeed(position: number, length: number): void {
    const inside = Math.min(length, this.size - position)
    if (inside > 0) this.#source.willNeed?.(this.#start + position, inside)
  }

  close(): void {
    this.#source.close?.()
  }
}
