import { addressOf, openLibrary } from '../../sys/ffi/ffi.ts'
import type { Argon2 } from './argon2.ts'

const NAMES = ['libargon2.so.1', 'libargon2.so.0']

/** The library that cryptsetup itself is linked with on most machines: it uses threads. */
export function openArgon2Library(): Argon2 | undefined {
  const library = openLibrary(NAMES)
  if (library === undefined) return undefined
  try {
    const arguments_ =
      'uint32_t time, uint32_t memory, uint32_t lanes, uintptr_t password, size_t password_n, uintptr_t salt, ' +
      'size_t salt_n, uintptr_t hash, size_t hash_n'
    const raw = {
      argon2i: library.bind(`int argon2i_hash_raw(${arguments_})`),
      argon2id: library.bind(`int argon2id_hash_raw(${arguments_})`),
    }
    const explain = library.bind('const char *argon2_error_message(int code)')
    return {
      library: library.name,
      isNative: true,
      derive: async (password, { form, salt, time, memory, lanes, length }) => {
        const key = Buffer.alloc(length)
        const code = raw[form](
          ...[time, memory, lanes, addressOf(password), password.length, addressOf(salt), salt.length],
          ...[addressOf(key), key.length],
        )
        if (code !== 0) throw new Error(String(explain(code)))
        return key
      },
    }
  } catch {
    return undefined
  }
}
