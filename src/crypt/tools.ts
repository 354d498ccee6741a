import { unlessFailed } from '../base/index.ts'
import { openSectorCipher } from './ciphers/xts.ts'
import { openArgon2 } from './kdf/open-argon2.ts'

/** What encrypted images are read with on this machine; undefined for what it lacks. */
export interface EncryptionTools {
  /** Derives keys from passphrases. */
  readonly argon2: string | undefined
  /** Without native code, deriving a key takes several times as long. */
  readonly isArgon2Native: boolean
  /** Decrypts sectors. */
  readonly cipher: string | undefined
}

/** Tries what decrypts: which library gives it, and absent where none does. Never throws. */
export function encryptionTools(): EncryptionTools {
  const argon2 = unlessFailed(openArgon2)
  // Two halves that are equal are no key for XTS.
  const cipher = unlessFailed(() => openSectorCipher(Buffer.from(Array.from({ length: 64 }, (_, i) => i))))
  cipher?.close()
  return {
    argon2: argon2?.library,
    isArgon2Native: argon2?.isNative === true,
    cipher: cipher?.library,
  }
}
