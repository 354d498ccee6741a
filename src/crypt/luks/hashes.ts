/** Hashes of LUKS2 by the names of cryptsetup, and what `node:crypto` calls them. */
const HASHES: Readonly<Record<string, string>> = {
  sha1: 'sha1',
  sha224: 'sha224',
  sha256: 'sha256',
  sha384: 'sha384',
  sha512: 'sha512',
  'sha3-256': 'sha3-256',
  'sha3-512': 'sha3-512',
  'blake2b-512': 'blake2b512',
  'blake2s-256': 'blake2s256',
}

/** @returns undefined for a hash that this program does not have */
export function hashNamed(name: string): string | undefined {
  return Object.hasOwn(HASHES, name) ? HASHES[name] : undefined
}
