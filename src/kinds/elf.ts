import { ByteReader, type ByteSource, FsError } from '../base/index.ts'

/** elf(5), `e_ident`. */
const MAGIC = [0x7f, 0x45, 0x4c, 0x46]
const CLASS_32 = 1
const CLASS_64 = 2
const LITTLE_ENDIAN = 1
const IDENT_SIZE = 16

/** A section without bytes in the file, such as `.bss`. */
const SHT_NOBITS = 8

/** Sizes of the header and of one record of the section table, bytes. */
const SIZES = { 32: { header: 52, section: 40 }, 64: { header: 64, section: 64 } } as const
type Bits = keyof typeof SIZES

/** Where the section table lies. */
interface SectionTable {
  readonly start: number
  readonly count: number
  readonly end: number
}

/** Whether a file that begins with these bytes is an ELF program. */
export function isElf(head: Uint8Array): boolean {
  return MAGIC.every((byte, i) => head[i] === byte)
}

/**
 * Where an ELF program ends in a file that goes on behind it: behind the section table, or behind the last section if that
 * lies further back. The runtime of an AppImage finds its own image by the same rule. Reads two records, whatever the file
 * says of itself.
 * @param source begins with the magic number of ELF
 * @returns a position at most at the end of `source`
 * @throws FsError EINVAL where the program does not say it; EIO where the file is cut off, or cannot be read
 */
export function elfEnd(source: ByteSource): number {
  const bits = bitsOf(source)
  const table = readHeader(source, bits)
  return Math.max(table.end, lastSectionEnd(source, bits, table))
}

function bitsOf(source: ByteSource): Bits {
  const ident = ByteReader.over(bytesAt(source, 0, IDENT_SIZE, 'ELF header'), source.label)
  ident.skip(MAGIC.length)
  const kind = ident.u8()
  const order = ident.u8()
  if ((kind !== CLASS_32 && kind !== CLASS_64) || order !== LITTLE_ENDIAN) {
    throw wrong(source, 'is neither of 32 nor of 64 bits, or not little-endian')
  }
  return kind === CLASS_64 ? 64 : 32
}

function readHeader(source: ByteSource, bits: Bits): SectionTable {
  const { header, section } = SIZES[bits]
  const what = `${source.label}: ELF header`
  const reader = ByteReader.over(bytesAt(source, 0, header, 'ELF header'), what)
  // Type, machine and version; where it begins to run; the program headers.
  reader.skip(IDENT_SIZE + 8 + 2 * (bits / 8))
  const start = bits === 64 ? reader.offset64() : reader.u32()
  // Flags, the size of this header, size and number of the program headers.
  reader.skip(10)
  const recordSize = reader.u16()
  const count = reader.u16()
  if (start === 0 || count === 0) throw wrong(source, 'has no section table')
  if (recordSize !== section) throw wrong(source, `has sections of ${recordSize} bytes, expected ${section}`)
  return { start, count, end: ending(source, start, count * section, 'section table') }
}

function lastSectionEnd(source: ByteSource, bits: Bits, { start, count }: SectionTable): number {
  const { section } = SIZES[bits]
  const record = bytesAt(source, start + (count - 1) * section, section, 'last section')
  const reader = ByteReader.over(record, `${source.label}: last section`)
  // Its name.
  reader.skip(4)
  const type = reader.u32()
  // Its flags, and its place in memory.
  reader.skip(2 * (bits / 8))
  const offset = bits === 64 ? reader.offset64() : reader.u32()
  const size = bits === 64 ? reader.offset64() : reader.u32()
  return type === SHT_NOBITS ? 0 : ending(source, offset, size, 'last section')
}

/** @returns the end of a part of the program. @throws FsError EIO where the file ends before */
function ending(source: ByteSource, start: number, length: number, what: string): number {
  const end = start + length
  if (end <= source.size) return end
  throw new FsError(
    'EIO',
    `${source.label}: ELF program: ${what} ends at byte ${end}, and the file at ${source.size}`,
  )
}

function bytesAt(source: ByteSource, position: number, length: number, what: string): Uint8Array {
  ending(source, position, length, what)
  const bytes = new Uint8Array(length)
  source.readInto(position, bytes)
  return bytes
}

function wrong(source: ByteSource, what: string): FsError {
  return new FsError(
    'EINVAL',
    `${source.label}: an ELF program that ${what}: say with offset= where its image begins`,
  )
}
