import { DEFAULT_KDF_LIMITS, type KdfLimits } from '../../crypt/kdf/limits.ts'
import { parseInteger, parseSize } from '../../request/index.ts'

/** What commander makes of the options about keys of encrypted images. */
export interface KeyFlags {
  readonly passphraseFile?: string
  readonly kdfMemory?: string
  readonly kdfTime?: string
}

const LEAST_MEMORY = 2 ** 20
const MOST_MEMORY = 2 ** 42
/** A day. */
const MOST_SECONDS = 86_400

/** @throws UsageError */
export function kdfLimits({ kdfMemory, kdfTime }: KeyFlags): KdfLimits {
  const { memory, seconds } = DEFAULT_KDF_LIMITS
  return {
    memory:
      kdfMemory === undefined ? memory : parseSize('--kdf-memory', kdfMemory, LEAST_MEMORY, MOST_MEMORY),
    seconds: kdfTime === undefined ? seconds : parseInteger('--kdf-time', kdfTime, 1, MOST_SECONDS),
  }
}
