import { addressOf } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'

const getenv = libcFunction('uintptr_t getenv(const char *name)')
const strlen = libcFunction('size_t strlen(uintptr_t text)')
const memcpy = libcFunction('uintptr_t memcpy(uintptr_t target, uintptr_t source, size_t length)')
const memset = libcFunction('uintptr_t memset(uintptr_t target, int byte, size_t length)')

/**
 * Takes a secret out of the environment of this process: `/proc/PID/environ`, which shows the memory that the kernel laid
 * out at its start, has zeros in its place from then on, and no process that is started gets it.
 * @returns its bytes as they are there; undefined where the variable is not set, or empty
 */
export function takeVariable(name: string): Buffer | undefined {
  // Its value would become text, which stays in memory until it is collected.
  if (!(name in process.env)) return undefined
  const address = Number(getenv(name))
  const length = address === 0 ? 0 : Number(strlen(address))
  if (length === 0) return undefined
  const bytes = Buffer.alloc(length)
  memcpy(addressOf(bytes), address, length)
  memset(address, 0, length)
  delete process.env[name]
  return bytes
}
