/** A program of nothing but headers, for files that have an image behind their program. */
export interface ElfShape {
  readonly bits: 32 | 64
  /** Where the section table lies: behind all sections, as linkers put it, or before the last one. */
  readonly table?: 'last' | 'before'
  /** `sh_type` of the last section; 3, a table of strings, if absent. */
  readonly type?: number
}

/** Bytes of the last section. */
const CONTENT = 37
/** Sections: the empty first one, and the last. */
const COUNT = 2

/** Builds a little-endian ELF program (elf(5)). It cannot run. */
export function elfProgram({ bits, table = 'last', type = 3 }: ElfShape): Buffer {
  const [header, section] = bits === 64 ? [64, 64] : [52, 40]
  const tableAt = table === 'last' ? header + CONTENT : header
  const contentAt = table === 'last' ? header : header + COUNT * section
  const bytes = Buffer.alloc(header + COUNT * section + CONTENT, 0)
  bytes.fill(0x5a, contentAt, contentAt + CONTENT)
  const put = (at: number, value: number): void => {
    bytes.writeUInt32LE(value, at)
  }
  bytes.write('\x7fELF', 'latin1')
  bytes.set([bits === 64 ? 2 : 1, 1, 1], 4)
  put(16, 2 | ((bits === 64 ? 62 : 3) << 16)) // ET_EXEC; EM_X86_64 or EM_386
  put(20, 1)
  put(bits === 64 ? 40 : 32, tableAt)
  const sizes = bits === 64 ? 52 : 40
  bytes.writeUInt16LE(header, sizes)
  bytes.writeUInt16LE(section, sizes + 6)
  bytes.writeUInt16LE(COUNT, sizes + 8)
  const last = tableAt + section
  put(last + 4, type)
  put(last + (bits === 64 ? 24 : 16), contentAt)
  put(last + (bits === 64 ? 32 : 20), CONTENT)
  return bytes
}
