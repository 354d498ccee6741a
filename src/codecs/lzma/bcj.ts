import { viewOf } from '../../base/index.ts'

/**
 * The branch converters of xz (xz: doc/xz-file-format.txt §5.3.2). Before compression, the relative targets of calls
 * were made absolute, so that calls of one function look alike; here they are made relative again, in place.
 * Each takes one block, whole, and the position its first byte has in the address space of the filter.
 */
export type BranchFilter = (bytes: Uint8Array, start: number) => void

/** x86 (filter 4): E8 and E9 with a 32-bit displacement, at any byte. */
function x86(bytes: Uint8Array, start: number): void {
  const view = viewOf(bytes)
  // Bit n: one of the bytes n + 1 before this one looked like an opcode that was not converted.
  let recent = 0
  let lastOpcode = -5
  let at = 0
  while (at + 5 <= bytes.length) {
    if (((bytes[at] as number) & 0xfe) !== 0xe8) {
      at++
      continue
    }
    const distance = at - lastOpcode
    lastOpcode = at
    recent = distance > 3 ? 0 : (recent << (distance - 1)) & 7
    if (isSignByte(bytes[at + 4] as number) && (recent & (recent - 1)) === 0) {
      const overlap = recent === 0 ? 0 : 32 - Math.clz32(recent)
      if (overlap === 0 || !isSignByte(bytes[at + 4 - overlap] as number)) {
        view.setUint32(at + 1, x86Relative(view.getInt32(at + 1, true), start + at + 5, overlap), true)
        at += 5
        recent = 0
        continue
      }
    }
    recent = (recent << 1) | 1
    at++
  }
}

function isSignByte(byte: number): boolean {
  return byte === 0 || byte === 0xff
}

function x86Relative(absolute: number, next: number, overlap: number): number {
  let relative = (absolute - next) | 0
  if (overlap !== 0) {
    const shift = 32 - overlap * 8
    // Once is enough: what comes out is the complement of the bytes there were, and those were tested.
    if (isSignByte((relative >>> (shift - 8)) & 0xff)) {
      relative = ((relative ^ ((1 << shift) - 1)) - next) | 0
    }
  }
  // The top byte is the sign, taken from bit 24.
  return (relative << 7) >> 7
}

/** PowerPC, big-endian (filter 5): bl with an absolute target. */
function powerpc(bytes: Uint8Array, start: number): void {
  const view = viewOf(bytes)
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const instruction = view.getUint32(at)
    if (((instruction & 0xfc000003) | 0) !== 0x48000001) continue
    const target = (instruction & 0x03fffffc) - (start + at)
    view.setUint32(at, 0x48000001 | (target & 0x03fffffc))
  }
}

/** Which of the three slots of an IA-64 bundle are branches, by template; templates 0 to 15 have none. */
const IA64_BRANCH_SLOTS = [4, 4, 6, 6, 0, 0, 7, 7, 4, 4, 0, 0, 4, 4, 0, 0]

/** IA-64 (filter 6): bundles of 16 bytes with three instructions of 41 bits behind five bits of template. */
function ia64(bytes: Uint8Array, start: number): void {
  for (let at = 0; at + 16 <= bytes.length; at += 16) {
    const slots = IA64_BRANCH_SLOTS[((bytes[at] as number) & 31) - 16] ?? 0
    for (let slot = 0; slot < 3; slot++) {
      if (((slots >> slot) & 1) === 0) continue
      const bit = 5 + slot * 41
      ia64Slot(bytes, at + (bit >> 3), BigInt(bit & 7), start + at)
    }
  }
}

function ia64Slot(bytes: Uint8Array, at: number, shift: bigint, position: number): void {
  let word = 0n
  for (let i = 5; i >= 0; i--) word = (word << 8n) | BigInt(bytes[at + i] as number)
  const instruction = word >> shift
  if (((instruction >> 37n) & 0xfn) !== 5n || ((instruction >> 9n) & 7n) !== 0n) return
  // The target, in bundles: 20 bits at 13 and its sign at 36.
  const absolute = Number(((instruction >> 13n) & 0xfffffn) | (((instruction >> 36n) & 1n) << 20n))
  const relative = BigInt(((absolute << 4) - position) >>> 4)
  const field = ((relative & 0xfffffn) << 13n) | (((relative >> 20n) & 1n) << 36n)
  word = (word & ~(((0xfffffn << 13n) | (1n << 36n)) << shift)) | (field << shift)
  for (let i = 0; i < 6; i++) bytes[at + i] = Number((word >> BigInt(8 * i)) & 0xffn)
}

/** ARM (filter 7): bl without a condition. */
function arm(bytes: Uint8Array, start: number): void {
  const view = viewOf(bytes)
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    if (bytes[at + 3] !== 0xeb) continue
    const target = ((view.getUint32(at, true) & 0xffffff) << 2) - (start + at + 8)
    view.setUint32(at, 0xeb000000 | ((target >>> 2) & 0xffffff), true)
  }
}

/** ARM Thumb (filter 8): bl as a pair of half words, at any even byte. */
function armThumb(bytes: Uint8Array, start: number): void {
  const view = viewOf(bytes)
  for (let at = 0; at + 4 <= bytes.length; at += 2) {
    const high = view.getUint16(at, true)
    const low = view.getUint16(at + 2, true)
    if ((high & 0xf800) !== 0xf000 || (low & 0xf800) !== 0xf800) continue
    const absolute = ((high & 0x7ff) << 12) | ((low & 0x7ff) << 1)
    const relative = (absolute - (start + at + 4)) >>> 1
    view.setUint16(at, 0xf000 | ((relative >>> 11) & 0x7ff), true)
    view.setUint16(at + 2, 0xf800 | (relative & 0x7ff), true)
    at += 2
  }
}

/** SPARC (filter 9): call whose displacement has its upper eight bits alike. */
function sparc(bytes: Uint8Array, start: number): void {
  const view = viewOf(bytes)
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const instruction = view.getUint32(at)
    const top = instruction >>> 22
    if (top !== 0x100 && top !== 0x1ff) continue
    const words = ((instruction << 2) - (start + at)) >>> 2
    // 22 bits of displacement and their sign, spread over the rest of the 30.
    view.setUint32(at, 0x40000000 | (((words << 9) >> 9) & 0x3fffffff))
  }
}

/** ARM64 (filter 10): bl, and adrp within 512 MiB. */
function arm64(bytes: Uint8Array, start: number): void {
  const view = viewOf(bytes)
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const instruction = view.getUint32(at, true)
    const position = start + at
    if (instruction >>> 26 === 0x25) {
      view.setUint32(at, 0x94000000 | ((instruction - (position >>> 2)) & 0x03ffffff), true)
    } else if (((instruction & 0x9f000000) | 0) === (0x90000000 | 0)) {
      const page = ((instruction >>> 29) & 3) | ((instruction >>> 3) & 0x1ffffc)
      if (((page + 0x20000) & 0x1c0000) !== 0) continue
      const relative = page - (position >>> 12)
      const sign = -(relative & 0x20000) & 0xe00000
      const field = ((relative & 3) << 29) | ((relative & 0x3fffc) << 3) | sign
      view.setUint32(at, (instruction & 0x9000001f) | field, true)
    }
  }
}

export interface BranchFilterInfo {
  readonly convert: BranchFilter
  /** `start` must be a multiple of this, bytes. */
  readonly alignment: number
}

/** By filter id (§5.3.2). RISC-V (11) is missing, so `portable` refuses it; liblzma may know it. */
export const BRANCH_FILTERS: ReadonlyMap<number, BranchFilterInfo> = new Map([
  [4, { convert: x86, alignment: 1 }],
  [5, { convert: powerpc, alignment: 4 }],
  [6, { convert: ia64, alignment: 16 }],
  [7, { convert: arm, alignment: 4 }],
  [8, { convert: armThumb, alignment: 2 }],
  [9, { convert: sparc, alignment: 4 }],
  [10, { convert: arm64, alignment: 4 }],
])
