/**
 * The LZO1X stream in TypeScript (kernel: Documentation/staging/lzo.rst, bitstream version 0). Every
 * instruction is a match, followed by as many literals as its lowest bits say (the `state`), or a run of literals.
 */

/** What is wrong with the data; the codec around turns it into FsError EIO. */
export class LzoError extends Error {
  override readonly name = 'LzoError'
}

/** State after a run of four literals or more: a short match then means a far one. */
const AFTER_LITERAL_RUN = 4
const FAR_MATCH = 16384
/** From here on the engine's block copy beats a loop. */
const LONG_COPY = 32

/**
 * Decodes blocks of LZO1X (Documentation/staging/lzo.rst). For one thread; it holds nothing between two blocks.
 */
export class Lzo1xDecoder {
  #input: Uint8Array = new Uint8Array(0)
  #output: Uint8Array = new Uint8Array(0)
  #at = 0
  #to = 0

  /**
   * @returns decoded length
   * @throws LzoError where the input is damaged, has bytes after its end marker, or does not fit
   */
  decode(input: Uint8Array, output: Uint8Array): number {
    this.#input = input
    this.#output = output
    this.#at = 0
    this.#to = 0
    let state = 0
    const first = input[0]
    if (first !== undefined && first > 17) {
      this.#at = 1
      this.#literals(first - 17)
      state = Math.min(first - 17, AFTER_LITERAL_RUN)
    }
    while (state >= 0) state = this.#instruction(state)
    if (this.#at !== input.length) throw new LzoError(`bytes after the end marker at ${this.#at}`)
    return this.#to
  }

  /** @returns the next state, or -1 at the end marker */
  #instruction(state: number): number {
    const opcode = this.#byte()
    if (opcode >= 64) {
      const distance = (this.#byte() << 3) + ((opcode >> 2) & 7) + 1
      this.#match(distance, (opcode >> 5) + 1)
      return this.#literals(opcode & 3)
    }
    if (opcode >= 32) {
      const length = this.#runLength(opcode & 31, 31) + 2
      const word = this.#word()
      this.#match((word >> 2) + 1, length)
      return this.#literals(word & 3)
    }
    if (opcode >= 16) {
      const length = this.#runLength(opcode & 7, 7) + 2
      const word = this.#word()
      const distance = FAR_MATCH + ((opcode & 8) << 11) + (word >> 2)
      if (distance === FAR_MATCH) {
        if (length !== 3) throw new LzoError(`malformed end marker before ${this.#at}`)
        return -1
      }
      this.#match(distance, length)
      return this.#literals(word & 3)
    }
    if (state === 0) {
      this.#literals(this.#runLength(opcode, 15) + 3)
      return AFTER_LITERAL_RUN
    }
    const near = (this.#byte() << 2) + (opcode >> 2) + 1
    if (state === AFTER_LITERAL_RUN) this.#match(near + 2048, 3)
    else this.#match(near, 2)
    return this.#literals(opcode & 3)
  }

  #byte(): number {
    const value = this.#input[this.#at]
    if (value === undefined) throw new LzoError('ends early')
    this.#at++
    return value
  }

  #word(): number {
    const low = this.#byte()
    return low | (this.#byte() << 8)
  }

  /** A length that did not fit its field: the field is 0, and bytes follow, up to the first that is not 0. */
  #runLength(field: number, full: number): number {
    if (field !== 0) return field
    let length = full
    let more = this.#byte()
    while (more === 0) {
      length += 255
      more = this.#byte()
    }
    return length + more
  }

  #literals(count: number): number {
    const input = this.#input
    const output = this.#output
    let at = this.#at
    let to = this.#to
    if (count > input.length - at) throw new LzoError('ends early')
    if (count > output.length - to) throw new LzoError('decodes to more than the limit')
    if (count >= LONG_COPY) {
      output.set(input.subarray(at, at + count), to)
      at += count
      to += count
    } else {
      for (const end = at + count; at < end; ) output[to++] = input[at++] as number
    }
    this.#at = at
    this.#to = to
    return count
  }

  #match(distance: number, length: number): void {
    const output = this.#output
    let to = this.#to
    let from = to - distance
    if (from < 0) throw new LzoError(`match reaches before the start at ${this.#at}`)
    if (length > output.length - to) throw new LzoError('decodes to more than the limit')
    if (length >= LONG_COPY && distance >= length) {
      output.copyWithin(to, from, from + length)
      to += length
    } else {
      for (const end = to + length; to < end; ) output[to++] = output[from++] as number
    }
    this.#to = to
  }
}
