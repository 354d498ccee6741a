/**
 * The LZMA decoder: range coder, literals and matches, straight into the caller's output, which is the
 * dictionary at the same time. Memory is the probabilities (28 KiB) however large a dictionary the header asks for.
 * Format: the LZMA specification of the 7-Zip SDK (lzma-specification.txt); names are its own.
 */

const PROBABILITY_INIT = 1024
const TOP = 0x1000000

// Offsets into the table of probabilities.
const IS_MATCH = 0 // 12 states × 16 position states
const IS_REP = 192
const IS_REP_G0 = 204
const IS_REP_G1 = 216
const IS_REP_G2 = 228
const IS_REP0_LONG = 240 // 12 × 16
const POSITION_SLOT = 432 // 4 length states × 64
const POSITION_SPECIAL = 688 // 115 for slots 4..13, starting with index 1
const ALIGN = 804 // 16
const MATCH_LENGTH = 820
const REP_LENGTH = 1334
const LITERAL = 1848

// Offsets into a length coder.
const LENGTH_CHOICE = 0
const LENGTH_CHOICE_2 = 1
const LENGTH_LOW = 2 // 16 × 8
const LENGTH_MID = 130 // 16 × 8
const LENGTH_HIGH = 258 // 256

/** lc + lp may be 4 at most, as in LZMA2 and in liblzma. */
const MAX_LITERAL_BITS = 4
const MATCH_MIN_LENGTH = 2

/** What is wrong with the data; the codec around turns it into FsError EIO. */
export class LzmaError extends Error {
  override readonly name = 'LzmaError'
}

/**
 * Decodes chunks of LZMA (lzma-specification, "LZMA decoder"), one after the other with the state and the
 * dictionary of those before.
 */
export class LzmaDecoder {
  readonly #probabilities = new Uint16Array(LITERAL + (0x300 << MAX_LITERAL_BITS))
  #input: Uint8Array = new Uint8Array(0)
  #output: Uint8Array = new Uint8Array(0)
  #inputEnd = 0
  /** Next byte to read. */
  inputPosition = 0
  /** Next byte to write; the dictionary is what lies between `#dictionaryStart` and here. */
  outputPosition = 0
  #dictionaryStart = 0
  // The range coder's registers as int32: small integers would become heap numbers above 2^31.
  readonly #registers = new Int32Array(2)
  #state = 0
  #rep0 = 0
  #rep1 = 0
  #rep2 = 0
  #rep3 = 0
  #literalContextBits = 3
  #literalPositionMask = 0
  #positionMask = 3

  /** Begins a stream that is written to `output` from its start. */
  start(input: Uint8Array, inputPosition: number, output: Uint8Array, outputPosition: number): void {
    this.#input = input
    this.inputPosition = inputPosition
    this.#output = output
    this.outputPosition = outputPosition
    this.#dictionaryStart = outputPosition
  }

  /** LZMA2: matches may not reach behind this point. */
  resetDictionary(): void {
    this.#dictionaryStart = this.outputPosition
  }

  /** @param properties (pb × 5 + lp) × 9 + lc */
  setProperties(properties: number): void {
    const lc = properties % 9
    const lp = Math.floor(properties / 9) % 5
    const pb = Math.floor(properties / 45)
    if (pb > 4 || lc + lp > MAX_LITERAL_BITS) throw new LzmaError(`properties ${properties} out of range`)
    this.#literalContextBits = lc
    this.#literalPositionMask = (1 << lp) - 1
    this.#positionMask = (1 << pb) - 1
  }

  resetState(): void {
    const literals = 0x300 * (this.#literalPositionMask + 1) * (1 << this.#literalContextBits)
    this.#probabilities.fill(PROBABILITY_INIT, 0, LITERAL + literals)
    this.#state = 0
    this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0
  }

  /** Reads the first five bytes of the range coder. @param inputEnd no byte from here on is read */
  startRangeCoder(inputEnd: number): void {
    this.#inputEnd = inputEnd
    if (inputEnd - this.inputPosition < 5) throw new LzmaError('ends within the range coder start')
    if (this.#input[this.inputPosition] !== 0) throw new LzmaError('first byte of the range coder is not 0')
    let code = 0
    for (let i = 1; i < 5; i++) code = (code << 8) | (this.#input[this.inputPosition + i] ?? 0)
    this.inputPosition += 5
    this.#registers[0] = -1
    this.#registers[1] = code
  }

  /** True where the range coder has come to its proper end. Takes the last byte, if one is still due. */
  finishRangeCoder(): boolean {
    this.#normalize()
    return this.#registers[1] === 0
  }

  /** Copies bytes that LZMA2 stores. */
  copyStored(length: number): void {
    const end = this.inputPosition + length
    this.#output.set(this.#input.subarray(this.inputPosition, end), this.outputPosition)
    this.inputPosition = end
    this.outputPosition += length
  }

  #normalize(): void {
    const registers = this.#registers
    const range = registers[0] as number
    if (range >>> 0 >= TOP) return
    if (this.inputPosition >= this.#inputEnd) throw new LzmaError('ends early')
    registers[0] = range << 8
    registers[1] = ((registers[1] as number) << 8) | (this.#input[this.inputPosition++] as number)
  }

  #bit(at: number): number {
    const registers = this.#registers
    let range = registers[0] as number
    let code = registers[1] as number
    if (range >>> 0 < TOP) {
      if (this.inputPosition >= this.#inputEnd) throw new LzmaError('ends early')
      range <<= 8
      code = (code << 8) | (this.#input[this.inputPosition++] as number)
    }
    const probabilities = this.#probabilities
    const probability = probabilities[at] as number
    const bound = Math.imul(range >>> 11, probability)
    if (code >>> 0 < bound >>> 0) {
      registers[0] = bound
      registers[1] = code
      probabilities[at] = probability + ((2048 - probability) >> 5)
      return 0
    }
    registers[0] = range - bound
    registers[1] = code - bound
    probabilities[at] = probability - (probability >> 5)
    return 1
  }

  #tree(at: number, bits: number): number {
    let symbol = 1
    for (let i = 0; i < bits; i++) symbol = (symbol << 1) | this.#bit(at + symbol)
    return symbol - (1 << bits)
  }

  #reverseTree(at: number, bits: number): number {
    let symbol = 1
    let value = 0
    for (let i = 0; i < bits; i++) {
      const bit = this.#bit(at + symbol)
      symbol = (symbol << 1) | bit
      value |= bit << i
    }
    return value
  }

  #directBits(count: number): number {
    const registers = this.#registers
    let value = 0
    for (let i = 0; i < count; i++) {
      this.#normalize()
      const range = (registers[0] as number) >>> 1
      const code = (registers[1] as number) >>> 0
      registers[0] = range
      if (code >= range) {
        registers[1] = code - range
        value = (value << 1) | 1
      } else {
        value <<= 1
      }
    }
    return value
  }

  #length(coder: number, positionState: number): number {
    if (this.#bit(coder + LENGTH_CHOICE) === 0) {
      return this.#tree(coder + LENGTH_LOW + (positionState << 3), 3)
    }
    if (this.#bit(coder + LENGTH_CHOICE_2) === 0) {
      return 8 + this.#tree(coder + LENGTH_MID + (positionState << 3), 3)
    }
    return 16 + this.#tree(coder + LENGTH_HIGH, 8)
  }

  #literal(): void {
    const output = this.#output
    const position = this.outputPosition
    const since = position - this.#dictionaryStart
    const previous = since > 0 ? (output[position - 1] as number) : 0
    const bits = this.#literalContextBits
    const context = ((since & this.#literalPositionMask) << bits) + (previous >> (8 - bits))
    const at = LITERAL + 0x300 * context
    let symbol = 1
    if (this.#state >= 7) {
      let match = output[position - this.#rep0 - 1] as number
      do {
        const matchBit = (match >> 7) & 1
        match <<= 1
        const bit = this.#bit(at + ((1 + matchBit) << 8) + symbol)
        symbol = (symbol << 1) | bit
        if (matchBit !== bit) break
      } while (symbol < 0x100)
    }
    while (symbol < 0x100) symbol = (symbol << 1) | this.#bit(at + symbol)
    output[position] = symbol
    this.outputPosition = position + 1
    const state = this.#state
    this.#state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6
  }

  /** Distance minus one, as int32; -1 is the end marker. */
  #distance(length: number): number {
    const slot = this.#tree(POSITION_SLOT + (Math.min(length, 3) << 6), 6)
    if (slot < 4) return slot
    const bits = (slot >> 1) - 1
    const high = (2 | (slot & 1)) << bits
    if (slot < 14) return high + this.#reverseTree(POSITION_SPECIAL + high - slot, bits)
    return (high + (this.#directBits(bits - 4) << 4) + this.#reverseTree(ALIGN, 4)) | 0
  }

  /** Decodes which earlier match is meant. @returns length, or 0 where one byte was repeated already */
  #repeat(positionState: number): number {
    const state = this.#state
    if (this.outputPosition === this.#dictionaryStart) throw new LzmaError('repeats before any byte')
    if (this.#bit(IS_REP_G0 + state) === 0) {
      if (this.#bit(IS_REP0_LONG + (state << 4) + positionState) === 0) {
        this.#state = state < 7 ? 9 : 11
        return 1
      }
    } else {
      let distance = this.#rep1
      if (this.#bit(IS_REP_G1 + state) !== 0) {
        if (this.#bit(IS_REP_G2 + state) === 0) {
          distance = this.#rep2
        } else {
          distance = this.#rep3
          this.#rep3 = this.#rep2
        }
        this.#rep2 = this.#rep1
      }
      this.#rep1 = this.#rep0
      this.#rep0 = distance
    }
    this.#state = state < 7 ? 8 : 11
    return this.#length(REP_LENGTH, positionState) + MATCH_MIN_LENGTH
  }

  #copyMatch(length: number, end: number): void {
    const output = this.#output
    let to = this.outputPosition
    const from = to - this.#rep0 - 1
    if (this.#rep0 < 0 || from < this.#dictionaryStart) throw new LzmaError('match reaches before the start')
    if (length > end - to) throw new LzmaError('match reaches past the end')
    for (let at = from; at < from + length; at++) output[to++] = output[at] as number
    this.outputPosition = to
  }

  /**
   * Decodes until the output has reached `end`, or to the end marker.
   * @returns true where the end marker was met
   */
  decodeTo(end: number): boolean {
    while (this.outputPosition < end) {
      if (this.#step(end)) return true
    }
    return false
  }

  /** After the last byte of output: the end marker is the one thing that may follow. */
  expectEndMarker(): void {
    const end = this.outputPosition
    const positionState = (end - this.#dictionaryStart) & this.#positionMask
    if (this.#bit(IS_MATCH + (this.#state << 4) + positionState) === 0 || !this.#match(positionState, end)) {
      throw new LzmaError('decodes to more than its header says')
    }
  }

  #step(end: number): boolean {
    const positionState = (this.outputPosition - this.#dictionaryStart) & this.#positionMask
    if (this.#bit(IS_MATCH + (this.#state << 4) + positionState) === 0) {
      this.#literal()
      return false
    }
    return this.#match(positionState, end)
  }

  #match(positionState: number, end: number): boolean {
    const state = this.#state
    if (this.#bit(IS_REP + state) !== 0) {
      this.#copyMatch(this.#repeat(positionState), end)
      return false
    }
    this.#rep3 = this.#rep2
    this.#rep2 = this.#rep1
    this.#rep1 = this.#rep0
    const length = this.#length(MATCH_LENGTH, positionState)
    this.#state = state < 7 ? 7 : 10
    this.#rep0 = this.#distance(length)
    if (this.#rep0 === -1) return true
    this.#copyMatch(length + MATCH_MIN_LENGTH, end)
    return false
  }
}
