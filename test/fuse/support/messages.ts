/** Requests as the kernel sends them, byte by byte. */

/** `struct fuse_in_header` and a body, with values that do not repeat. */
export function message(opcode: number, nodeId: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(40)
  header.writeUInt32LE(40 + body.length, 0)
  header.writeUInt32LE(opcode, 4)
  header.writeBigUInt64LE(0x0102030405060708n, 8)
  header.writeBigUInt64LE(BigInt(nodeId), 16)
  header.writeUInt32LE(1000, 24)
  header.writeUInt32LE(1001, 28)
  header.writeUInt32LE(4242, 32)
  return Buffer.concat([header, body])
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => {
    bytes.writeUInt32LE(value, i * 4)
  })
  return bytes
}

export function u64(...values: (number | bigint)[]): Buffer {
  const bytes = Buffer.alloc(values.length * 8)
  values.forEach((value, i) => {
    bytes.writeBigInt64LE(BigInt.asIntN(64, BigInt(value)), i * 8)
  })
  return bytes
}

export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'latin1')
}

/** `struct fuse_read_in` */
export function readIn(offset: number, size: number): Buffer {
  return Buffer.concat([u64(0, offset), u32(size, 0), u64(0), u32(0, 0)])
}
