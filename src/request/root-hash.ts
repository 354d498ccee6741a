import { UsageError } from '../base/index.ts'

/** Bytes of the digests that dm-verity can use: SHA-1 to SHA-512 and their kin. */
const DIGEST_SIZES = [20, 28, 32, 48, 64]

/**
 * The value of `--root-hash` in lower case. Which of the lengths is right, the hash tree says.
 * @throws UsageError
 */
export function parseRootHash(text: string): string {
  const wrong = (what: string): UsageError => new UsageError(`--root-hash ${text}: ${what}`)
  const other = /[^0-9a-fA-F]/u.exec(text)?.[0]
  if (other !== undefined) throw wrong(`'${other}' is no hex digit`)
  if (text.length % 2 !== 0) {
    throw wrong(`${text.length} hex digits, but two make a byte: the last one may be missing`)
  }
  if (!DIGEST_SIZES.includes(text.length / 2)) {
    const lengths = DIGEST_SIZES.map((size) => 2 * size).join(', ')
    throw wrong(`${text.length} hex digits are no root hash: expected one of ${lengths}, mostly 64`)
  }
  return text.toLowerCase()
}
