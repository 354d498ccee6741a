import { getHashes } from 'node:crypto'

/** A hash function that a verity superblock may name. */
export interface HashAlgorithm {
  /** As the superblock spells it (the kernel crypto API's and cryptsetup's names). */
  readonly name: string
  /** As OpenSSL spells it. */
  readonly cryptoName: string
  /** Bytes. */
  readonly digestSize: number
}

/**
 * The root hash does not cover the name in the superblock: an attacker who changes the file may name any function
 * with a digest of the root hash's length. So the list has only functions whose preimages cannot be found. MD5
 * and the SHAKE functions (whose digest length is a convention) are left out although veritysetup takes them.
 */
const ALGORITHMS: readonly HashAlgorithm[] = [
  { name: 'sha1', cryptoName: 'sha1', digestSize: 20 },
  { name: 'sha224', cryptoName: 'sha224', digestSize: 28 },
  { name: 'sha256', cryptoName: 'sha256', digestSize: 32 },
  { name: 'sha384', cryptoName: 'sha384', digestSize: 48 },
  { name: 'sha512', cryptoName: 'sha512', digestSize: 64 },
  { name: 'sha512-224', cryptoName: 'sha512-224', digestSize: 28 },
  { name: 'sha512-256', cryptoName: 'sha512-256', digestSize: 32 },
  { name: 'sha3-224', cryptoName: 'sha3-224', digestSize: 28 },
  { name: 'sha3-256', cryptoName: 'sha3-256', digestSize: 32 },
  { name: 'sha3-384', cryptoName: 'sha3-384', digestSize: 48 },
  { name: 'sha3-512', cryptoName: 'sha3-512', digestSize: 64 },
  { name: 'blake2b-512', cryptoName: 'blake2b512', digestSize: 64 },
  { name: 'blake2b512', cryptoName: 'blake2b512', digestSize: 64 },
  { name: 'blake2s-256', cryptoName: 'blake2s256', digestSize: 32 },
  { name: 'blake2s256', cryptoName: 'blake2s256', digestSize: 32 },
  { name: 'rmd160', cryptoName: 'ripemd160', digestSize: 20 },
  { name: 'ripemd160', cryptoName: 'ripemd160', digestSize: 20 },
  { name: 'sm3', cryptoName: 'sm3', digestSize: 32 },
]

/** @returns undefined where the name is not listed, or OpenSSL of this Node lacks it (FIPS builds). */
export function findAlgorithm(name: string): HashAlgorithm | undefined {
  const found = ALGORITHMS.find((algorithm) => algorithm.name === name.toLowerCase())
  return found !== undefined && getHashes().includes(found.cryptoName) ? found : undefined
}

/** Names that this machine can verify, for messages and for `doctor`. */
export function algorithmNames(): readonly string[] {
  return ALGORITHMS.map((algorithm) => algorithm.name).filter((name) => findAlgorithm(name) !== undefined)
}
