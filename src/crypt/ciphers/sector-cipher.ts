/**
 * AES in XTS mode by sectors, as dm-crypt's `aes-xts-plain64`: each sector is encrypted by itself, with its number as the
 * initialization vector. For one thread.
 */
export interface SectorCipher {
  /** What it is done with, for `doctor`. */
  readonly library: string
  /**
   * Decrypts whole sectors in place.
   * @param bytes private memory of this thread
   * @param number of the first sector, for the cipher
   * @param step by which the number grows from sector to sector: dm-crypt counts in units of 512 bytes
   */
  decrypt(bytes: Uint8Array, sectorSize: number, number: number, step: number): void
  /** Overwrites what it has made of the key. */
  close(): void
}
