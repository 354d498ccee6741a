import { codeOfErrno, FsError } from '../../base/index.ts'
import { addressOf } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'

const PROTOTYPE = '(const char *name, uintptr_t entry, uintptr_t texts, size_t size, uintptr_t result)'
const getpwnam = libcFunction(`int getpwnam_r${PROTOTYPE}`)
const getgrnam = libcFunction(`int getgrnam_r${PROTOTYPE}`)

/** `struct passwd` and `struct group` begin with two pointers, and then the number. */
const ID_AT = 16
const ENTRY_SIZE = 64
/** Groups of thousands of members are long. */
const FIRST_SIZE = 1 << 14
const LAST_SIZE = 1 << 24
const ERANGE = 34

/**
 * Number of a user of this machine, from wherever the C library has its users. A number is no name.
 * @returns undefined where there is no such user
 * @throws FsError what the system said
 */
export function userIdOf(name: string): number | undefined {
  return idOf(getpwnam, name)
}

/** As `userIdOf`, for groups. */
export function groupIdOf(name: string): number | undefined {
  return idOf(getgrnam, name)
}

function idOf(find: typeof getpwnam, name: string): number | undefined {
  if (name === '' || name.includes('\0')) return undefined
  const entry = Buffer.alloc(ENTRY_SIZE)
  const result = Buffer.alloc(8)
  for (let size = FIRST_SIZE; size <= LAST_SIZE; size *= 4) {
    const texts = Buffer.alloc(size)
    const wrong = Number(find(name, addressOf(entry), addressOf(texts), size, addressOf(result)))
    if (wrong === 0) return result.readBigUInt64LE() === 0n ? undefined : entry.readUInt32LE(ID_AT)
    if (wrong !== ERANGE) {
      // The manual lets these mean that the name was not found.
      if (['ENOENT', 'ESRCH', 'EBADF', 'EPERM'].includes(codeOfErrno(wrong))) return undefined
      throw new FsError(codeOfErrno(wrong), `look up ${JSON.stringify(name)}: ${codeOfErrno(wrong)}`)
    }
  }
  throw new FsError('ERANGE', `look up ${JSON.stringify(name)}: its entry has more than ${LAST_SIZE} bytes`)
}
