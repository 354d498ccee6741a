import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, constants, openSync } from 'node:fs'
import { lastErrno } from '../../../src/sys/ffi/ffi.ts'
import { libcFunction } from '../../../src/sys/ffi/libc.ts'

/** What the scenarios of `write-client.ts` share: they run in a process of their own, in a directory of their own. */

export type Scenario = (directory: string) => void

export const NOBODY = 65534
const { O_RDONLY, O_RDWR } = constants

/** `use` with an open descriptor. @returns what it returned */
export function withFile<T>(path: string | Buffer, flags: number, use: (fd: number) => T, mode = 0o666): T {
  const fd = openSync(path, flags, mode)
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}

export function withDirectory<T>(path: string, use: (fd: number) => T): T {
  return withFile(path, O_RDONLY | constants.O_DIRECTORY, use)
}

/** The name of the errno that a call fails with, of `node:fs` or of ours. */
export function codeOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code)
    throw error
  }
  return 'success'
}

/** Runs as another user without capabilities, in this process. */
export function asNobody<T>(use: () => T): T {
  process.setgroups?.([])
  process.setegid?.(NOBODY)
  process.seteuid?.(NOBODY)
  try {
    return use()
  } finally {
    process.seteuid?.(0)
    process.setegid?.(0)
  }
}

/** Permission bits as statx(2) with nothing but the mode asked for gives them: the kernel need not ask the server. */
export function cachedMode(path: string): string {
  return execFileSync('stat', ['-c', '%a', path], { encoding: 'utf8', timeout: 10_000 }).trim()
}

export function statusOf(command: string, ...args: string[]): number | null {
  return spawnSync(command, args, { timeout: 20_000, stdio: 'ignore' }).status
}

const mmap = libcFunction(
  'uintptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t offset)',
)
const munmap = libcFunction('int munmap(uintptr_t address, size_t length)')
const msync = libcFunction('int msync(uintptr_t address, size_t length, int flags)')
const memcpyTo = libcFunction('uintptr_t memcpy(uintptr_t to, const uint8_t *from, size_t length)')
const memcpyFrom = libcFunction('uintptr_t memcpy(uint8_t *to, uintptr_t from, size_t length)')

const [PROT_READ, PROT_WRITE, MAP_SHARED, MS_SYNC] = [1, 2, 1, 4]

/** A shared, writable mapping of a whole file. */
export class Mapping {
  readonly #address: number
  readonly #length: number

  constructor(path: string, length: number) {
    this.#length = length
    const protection = PROT_READ | PROT_WRITE
    this.#address = withFile(path, O_RDWR, (fd) => Number(mmap(0, length, protection, MAP_SHARED, fd, 0)))
    assert(this.#address !== -1 && this.#address < 2 ** 63, `mmap: errno ${lastErrno()}`)
  }

  write(at: number, bytes: Uint8Array): void {
    memcpyTo(this.#address + at, bytes, bytes.length)
  }

  read(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length)
    memcpyFrom(bytes, this.#address + at, length)
    return bytes
  }

  sync(): void {
    assert.equal(msync(this.#address, this.#length, MS_SYNC), 0)
  }

  close(): void {
    assert.equal(munmap(this.#address, this.#length), 0)
  }
}

/** Bytes that tell where they belong. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE((i * 2654435761 + seed) >>> 0, i)
  return bytes
}

/** A posix_acl_xattr of entries tag, permissions, id (include/uapi/linux/posix_acl_xattr.h). */
export function aclOf(
  ...entries: readonly (readonly [tag: number, permissions: number, id?: number])[]
): Buffer {
  const bytes = Buffer.alloc(4 + entries.length * 8)
  bytes.writeUInt32LE(2, 0)
  entries.forEach(([tag, permissions, id], i) => {
    bytes.writeUInt16LE(tag, 4 + i * 8)
    bytes.writeUInt16LE(permissions, 6 + i * 8)
    bytes.writeUInt32LE(id ?? 0xffff_ffff, 8 + i * 8)
  })
  return bytes
}
