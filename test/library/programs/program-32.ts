import { chmodSync, writeFileSync } from 'node:fs'
import { run } from './process.ts'

/**
 * A program of 32 bits, put together here byte by byte, because no machine has one at hand. It is given one path. It
 * writes the result of stat(2) and its structure, and then, of a directory, the result of each getdents(2) and the
 * entries.
 */

const BASE = 0x0804_8000
/** Zeros behind the program: results of 4 bytes, and from `BUFFER + 4` on what the kernel fills in. */
const BUFFER = 0x0804_9000
const STAT_SIZE = 64
const ENTRIES_SIZE = 32_768

/** System calls of i386 (arch/x86/entry/syscalls/syscall_32.tbl). */
const [EXIT, WRITE, OPEN, STAT, GETDENTS] = [1, 4, 5, 106, 141]
const O_DIRECTORY = 0o200000
/** sizeof(Elf32_Ehdr) and sizeof(Elf32_Phdr). */
const [HEADER, SEGMENT] = [52, 32]

/** `mov REGISTER, VALUE`; the registers are those that a system call takes, in its order. */
function load(register: 'eax' | 'ebx' | 'ecx' | 'edx', value: number): readonly number[] {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return [0xb8 + ['eax', 'ecx', 'edx', 'ebx'].indexOf(register), ...bytes]
}

const CALL = [0xcd, 0x80]
const storeResult = [0xa3, ...load('eax', BUFFER).slice(1)]

/** Writes from `BUFFER` on, as many bytes as `length` puts into edx. */
function writeOut(length: readonly number[]): readonly number[] {
  return [...length, ...load('eax', WRITE), ...load('ebx', 1), ...load('ecx', BUFFER), ...CALL]
}

function code(): Buffer {
  const begin = [
    ...[0x8b, 0x74, 0x24, 0x08], // mov esi, [esp + 8]: the first argument
    ...[0x89, 0xf3], // mov ebx, esi
    ...load('ecx', BUFFER + 4),
    ...load('eax', STAT),
    ...CALL,
    ...storeResult,
    ...writeOut(load('edx', 4 + STAT_SIZE)),
    ...[0x89, 0xf3], // mov ebx, esi
    ...load('ecx', O_DIRECTORY),
    ...load('eax', OPEN),
    ...CALL,
    ...[0x89, 0xc6], // mov esi, eax: the descriptor
  ]
  const list = [
    ...[0x89, 0xf3], // mov ebx, esi
    ...load('ecx', BUFFER + 4),
    ...load('edx', ENTRIES_SIZE),
    ...load('eax', GETDENTS),
    ...CALL,
    ...storeResult,
    ...[0x89, 0xc7], // mov edi, eax
    ...[0x85, 0xff], // test edi, edi
    ...[0x79, 0x02], // jns, over the next instruction
    ...[0x31, 0xc0], // xor eax, eax
    ...writeOut([0x8d, 0x50, 0x04]), // lea edx, [eax + 4]
    ...[0x85, 0xff], // test edi, edi
  ]
  const again = [0x7f, 0x100 - list.length - 2] // jg, to the start of `list`
  const end = [...load('ebx', 0), ...load('eax', EXIT), ...CALL]
  return Buffer.from([...begin, ...list, ...again, ...end])
}

/** Writes the program to `path`. */
export function writeProgram32(path: string): void {
  const text = code()
  const size = HEADER + SEGMENT + text.length
  const elf = Buffer.alloc(HEADER + SEGMENT)
  elf.write('\x7fELF\x01\x01\x01', 'latin1') // 32 bits, little-endian, version 1
  const halves: readonly (readonly [number, number])[] = [
    [16, 2], // ET_EXEC
    [18, 3], // EM_386
    [40, HEADER],
    [42, SEGMENT],
    [44, 1],
  ]
  const words: readonly (readonly [number, number])[] = [
    [20, 1], // EV_CURRENT
    [24, BASE + HEADER + SEGMENT], // where it begins
    [28, HEADER],
    // The one segment, PT_LOAD: the whole file, and zeros to the end of the buffer.
    [HEADER, 1],
    [HEADER + 8, BASE],
    [HEADER + 12, BASE],
    [HEADER + 16, size],
    [HEADER + 20, BUFFER - BASE + 4 + ENTRIES_SIZE],
    [HEADER + 24, 7], // read, write, execute
    [HEADER + 28, 0x1000],
  ]
  for (const [at, value] of halves) elf.writeUInt16LE(value, at)
  for (const [at, value] of words) elf.writeUInt32LE(value, at)
  writeFileSync(path, Buffer.concat([elf, text]))
  chmodSync(path, 0o755)
}

/** What a program of 32 bits is told of one path. An errno is 0 where there was no error. */
export interface Seen32 {
  readonly statErrno: number
  readonly ino: number
  /** ENOTDIR, as EBADF, for what is no directory. */
  readonly listErrno: number
  /** Inode number of each name. */
  readonly names: ReadonlyMap<string, number>
}

/** Runs the program. @param program that `writeProgram32` wrote */
export async function seenBy32(program: string, path: string): Promise<Seen32> {
  const { bytes } = await run(program, [path], { timeout: 20_000 })
  const names = new Map<string, number>()
  let listErrno = 0
  for (let at = 4 + STAT_SIZE; at < bytes.length; ) {
    const filled = bytes.readInt32LE(at)
    at += 4
    if (filled < 0) listErrno = -filled
    for (const end = at + Math.max(filled, 0); at < end; at += bytes.readUInt16LE(at + 8)) {
      // struct compat_linux_dirent: number, cookie, length of the entry, name.
      const nameEnd = bytes.indexOf(0, at + 10)
      names.set(bytes.toString('latin1', at + 10, nameEnd), bytes.readUInt32LE(at))
    }
  }
  // struct compat_stat: device, number.
  return { statErrno: Math.abs(bytes.readInt32LE(0)), ino: bytes.readUInt32LE(8), listErrno, names }
}
