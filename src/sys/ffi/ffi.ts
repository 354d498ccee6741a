import { codeOfErrno, type ErrnoCode, FsError } from '../../base/index.ts'
import { koffi } from './koffi.ts'

/** A function of a shared library. Pointers go in as Uint8Array (also over shared memory) or as an address. */
// The C prototype gives the types of arguments, and TypeScript cannot see it.
export type ForeignFunction = (...args: readonly unknown[]) => number | bigint | string | null | object

export interface SharedLibrary {
  readonly name: string
  /** Binds one function by its C prototype, for example `int64_t pread(int fd, void *buf, size_t n, int64_t o)`. */
  bind(prototype: string): ForeignFunction
}

/** Opens the first of these libraries that this machine has. @returns undefined where it has none */
export function openLibrary(names: readonly string[]): SharedLibrary | undefined {
  for (const name of names) {
    try {
      const library = koffi.load(name)
      return { name, bind: (prototype) => library.func(prototype) as ForeignFunction }
    } catch {
      // Absent under this name: try the next one.
    }
  }
  return undefined
}

/** What the program itself exports: Node has OpenSSL inside, or is linked with the library of the machine. */
export function ownSymbols(): SharedLibrary {
  const library = koffi.load(null)
  return { name: 'node', bind: (prototype) => library.func(prototype) as ForeignFunction }
}

/** `errno` of the last foreign call of this thread, positive. */
export function lastErrno(): number {
  return koffi.errno()
}

/** Address of the first byte. Valid as long as the buffer is reachable; V8 does not move its contents. */
export function addressOf(bytes: Uint8Array): number {
  return Number(koffi.address(bytes))
}

/** The FsError for a failed call, with the errno of this thread. */
export function systemError(what: string): FsError {
  const number = lastErrno()
  const code: ErrnoCode = codeOfErrno(number)
  return new FsError(code, `${what}: ${code} (errno ${number})`)
}
