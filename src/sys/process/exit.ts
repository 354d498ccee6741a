import { libcFunction } from '../ffi/libc.ts'

const exit = libcFunction('void _exit(int status)')

/**
 * Ends the process at once. `process.exit` waits for worker threads, and a thread that is blocked in a system call
 * would keep it for ever. No output is lost: Node writes to files and pipes synchronously.
 */
export function exitNow(code: number): never {
  exit(code)
  return process.exit(code)
}
