/** Little-endian fields of one record, in memory that is used again for the next one. */
export class RecordBuffer {
  #bytes: Buffer
  #length = 0

  constructor(room = 512) {
    this.#bytes = Buffer.alloc(room)
  }

  /** The record so far; valid until the next `clear`. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  clear(): this {
    this.#length = 0
    return this
  }

  u8(value: number): this {
    this.#reserve(1)
    this.#length = this.#bytes.writeUInt8(value, this.#length)
    return this
  }

  u16(value: number): this {
    this.#reserve(2)
    this.#length = this.#bytes.writeUInt16LE(value, this.#length)
    return this
  }

  i16(value: number): this {
    this.#reserve(2)
    this.#length = this.#bytes.writeInt16LE(value, this.#length)
    return this
  }

  u32(value: number): this {
    this.#reserve(4)
    this.#length = this.#bytes.writeUInt32LE(value, this.#length)
    return this
  }

  /** @param value a safe integer, or −1 for all bits */
  u64(value: number): this {
    this.#reserve(8)
    this.#length = this.#bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)), this.#length)
    return this
  }

  raw(bytes: Uint8Array): this {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
    return this
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return
    const larger = Buffer.alloc((this.#length + count) * 2)
    larger.set(this.bytes)
    this.#bytes = larger
  }
}
