/** Bytes of `gocryptfs.conf` that are read: it has some hundreds. */
export const CONFIG_LIMIT = 64 << 10

/** Sizes of an encrypted file (gocryptfs: "File Contents"), bytes. */
export const NONCE_SIZE = 16
export const TAG_SIZE = 16
/** Version and id of the file. */
export const HEADER_SIZE = 18
export const FILE_ID_SIZE = 16
export const FILE_VERSION = 2
export const PLAIN_BLOCK = 4096
export const CIPHER_BLOCK = NONCE_SIZE + PLAIN_BLOCK + TAG_SIZE

/**
 * Bytes that an encrypted file of this size holds.
 * @returns undefined where no file has that size
 */
export function plainSize(size: number): number | undefined {
  if (size === 0) return 0
  const content = size - HEADER_SIZE
  if (content < 0) return undefined
  const rest = content % CIPHER_BLOCK
  if (rest !== 0 && rest <= NONCE_SIZE + TAG_SIZE) return undefined
  const whole = Math.floor(content / CIPHER_BLOCK) * PLAIN_BLOCK
  return rest === 0 ? whole : whole + rest - NONCE_SIZE - TAG_SIZE
}
