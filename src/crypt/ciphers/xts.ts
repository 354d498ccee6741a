import { FsError } from '../../base/index.ts'
import type { SectorCipher } from './sector-cipher.ts'
import { openLibcrypto } from './xts-libcrypto.ts'
import { openNodeXts } from './xts-node.ts'

/** The ways to decrypt, best first, by measurement (docs/adr/0039-encryption.md). */
export const XTS_CANDIDATES: readonly ((key: Uint8Array) => SectorCipher | undefined)[] = [
  openLibcrypto,
  openNodeXts,
]

/**
 * @param key 32 bytes for AES-128, 64 for AES-256; not kept
 * @throws FsError EOPNOTSUPP where this machine has no such cipher
 */
export function openSectorCipher(key: Uint8Array): SectorCipher {
  const candidates = process.env['ATOMFS_CODECS'] === 'portable' ? XTS_CANDIDATES.slice(-1) : XTS_CANDIDATES
  for (const open of candidates) {
    const cipher = open(key)
    if (cipher !== undefined) return cipher
  }
  throw new FsError('EOPNOTSUPP', `no AES-XTS with a key of ${key.length * 8} bits on this machine`)
}
