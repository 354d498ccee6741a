import { FsError } from '../../base/index.ts'
import { addressOf, type ForeignFunction, ownSymbols } from '../../sys/ffi/ffi.ts'
import type { SectorCipher } from './sector-cipher.ts'

/** The functions of OpenSSL that are called (EVP_EncryptInit(3ssl)). Pointers are addresses: a call then costs least. */
interface Libcrypto {
  readonly newContext: ForeignFunction
  readonly freeContext: ForeignFunction
  readonly init: ForeignFunction
  readonly update: ForeignFunction
  readonly ciphers: Readonly<Record<number, ForeignFunction>>
}

let known: Libcrypto | false | undefined

/** The OpenSSL of this very Node, so that nothing has to be found. @returns undefined where Node hides it */
function libcrypto(): Libcrypto | undefined {
  known ??= bindLibcrypto() ?? false
  return known === false ? undefined : known
}

function bindLibcrypto(): Libcrypto | undefined {
  try {
    const library = ownSymbols()
    return {
      newContext: library.bind('uintptr_t EVP_CIPHER_CTX_new(void)'),
      freeContext: library.bind('void EVP_CIPHER_CTX_free(uintptr_t context)'),
      init: library.bind(
        'int EVP_DecryptInit_ex(uintptr_t context, uintptr_t cipher, uintptr_t engine, uintptr_t key, uintptr_t iv)',
      ),
      update: library.bind(
        'int EVP_DecryptUpdate(uintptr_t context, uintptr_t out, uintptr_t count, uintptr_t in, int length)',
      ),
      ciphers: {
        32: library.bind('uintptr_t EVP_aes_128_xts(void)'),
        64: library.bind('uintptr_t EVP_aes_256_xts(void)'),
      },
    }
  } catch {
    return undefined
  }
}

/** Two calls for each sector, without anything allocated. */
export function openLibcrypto(key: Uint8Array): SectorCipher | undefined {
  const library = libcrypto()
  const cipher = library?.ciphers[key.length]
  if (library === undefined || cipher === undefined) return undefined
  const context = Number(library.newContext())
  if (context === 0) return undefined
  if (Number(library.init(context, cipher(), 0, addressOf(key), 0)) !== 1) {
    library.freeContext(context)
    return undefined
  }
  return new LibcryptoXts(library, context)
}

class LibcryptoXts implements SectorCipher {
  readonly library = `OpenSSL ${process.versions.openssl} of Node, by foreign calls`
  readonly #library: Libcrypto
  #context: number
  /** The number of a sector, little-endian in 16 bytes; and behind it how many bytes a call gave. */
  readonly #words = new Uint32Array(6)
  readonly #iv = addressOf(new Uint8Array(this.#words.buffer))
  readonly #count = this.#iv + 16

  constructor(library: Libcrypto, context: number) {
    this.#library = library
    this.#context = context
  }

  decrypt(bytes: Uint8Array, sectorSize: number, number: number, step: number): void {
    const { init, update } = this.#library
    const context = this.#context
    if (context === 0) throw new FsError('EIO', 'a cipher that was closed')
    const start = addressOf(bytes)
    for (let at = 0, sector = number; at < bytes.length; at += sectorSize, sector += step) {
      this.#words[0] = sector
      this.#words[1] = sector / 2 ** 32
      const address = start + at
      if (
        init(context, 0, 0, 0, this.#iv) !== 1 ||
        update(context, address, this.#count, address, sectorSize) !== 1 ||
        this.#words[4] !== sectorSize
      ) {
        throw new FsError('EIO', `AES-XTS of sector ${sector} failed`)
      }
    }
  }

  /** OpenSSL overwrites the keys of a context that it frees. */
  close(): void {
    if (this.#context !== 0) this.#library.freeContext(this.#context)
    this.#context = 0
  }
}
