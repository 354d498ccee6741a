import { FsError } from '../../base/index.ts'
import { type ForeignFunction, openLibrary, type SharedLibrary } from './ffi.ts'

/** File names of the C library: glibc's first, then musl's for each machine. */
const LIBC_NAMES = ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1', 'libc.so']

let libc: SharedLibrary | undefined

/**
 * A function of the C library by its prototype. The first call binds it: a command that makes none does not load the
 * FFI.
 */
export function libcFunction(prototype: string): ForeignFunction {
  let bound: ForeignFunction | undefined
  const bind = (): ForeignFunction => {
    bound = openLibc().bind(prototype)
    return bound
  }
  // Code that is not optimized yet makes an array of rest arguments and spreads it again, for each call.
  switch (prototype.split(',').length) {
    case 2:
      return (a, b) => (bound ?? bind())(a, b)
    case 3:
      return (a, b, c) => (bound ?? bind())(a, b, c)
    case 4:
      return (a, b, c, d) => (bound ?? bind())(a, b, c, d)
    case 5:
      return (a, b, c, d, e) => (bound ?? bind())(a, b, c, d, e)
    case 7:
      return (a, b, c, d, e, f, g) => (bound ?? bind())(a, b, c, d, e, f, g)
    default:
      return (...args) => (bound ?? bind())(...args)
  }
}

/**
 * As `libcFunction`, for a call in a thread of Node's pool. Its errno is of that thread, and nobody can ask for it. What it
 * takes must be plain numbers.
 */
export function libcFunctionApart(prototype: string): (...args: readonly number[]) => Promise<number> {
  return (...args) =>
    new Promise((resolve, reject) => {
      // Koffi gives each function another one beside it, which takes a callback.
      const bound = openLibc().bind(prototype) as ForeignFunction & { readonly async: ForeignFunction }
      bound.async(...args, (error: unknown, result: number) => (error ? reject(error) : resolve(result)))
    })
}

function openLibc(): SharedLibrary {
  libc ??= openLibrary(LIBC_NAMES)
  if (libc === undefined) {
    throw new FsError('ENOSYS', `no C library found under any of the names ${LIBC_NAMES.join(', ')}`)
  }
  return libc
}
