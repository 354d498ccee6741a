export interface Argon2Parameters {
  readonly form: 'argon2i' | 'argon2id'
  readonly salt: Uint8Array
  /** Passes over the memory. */
  readonly time: number
  /** KiB. */
  readonly memory: number
  readonly lanes: number
  /** Bytes of the key. */
  readonly length: number
}

/** One implementation of argon2, version 1.3 (RFC 9106). */
export interface Argon2 {
  /** For `doctor`. */
  readonly library: string
  readonly isNative: boolean
  /** @returns the key; the caller wipes it. @throws where the memory cannot be had */
  derive(password: Uint8Array, parameters: Argon2Parameters): Promise<Uint8Array>
}
