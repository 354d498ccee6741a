import { FsError } from '../../base/index.ts'

/** What deriving keys from passphrases may take. A header asks for what it likes. */
export interface KdfLimits {
  /** Bytes. */
  readonly memory: number
  /** For all keyslots that are tried, estimated beforehand. */
  readonly seconds: number
}

/** cryptsetup asks for 1 GiB at most, unless it is told otherwise. */
export const DEFAULT_KDF_LIMITS: KdfLimits = { memory: 2 * 2 ** 30, seconds: 60 }

/** Lanes of argon2; cryptsetup makes 4. */
const MOST_LANES = 16

/** @param what names the derivation. @throws FsError ENOMEM, before anything is allocated */
export function checkMemory(bytes: number, limits: KdfLimits, what: string): void {
  if (bytes <= limits.memory) return
  const mebibytes = (count: number): string => `${Math.ceil(count / 2 ** 20)} MiB`
  throw new FsError(
    'ENOMEM',
    `${what} needs ${mebibytes(bytes)} of memory, and ${mebibytes(limits.memory)} are allowed (--kdf-memory)`,
  )
}

/** Parameters that argon2 allows (RFC 9106, 3.1). @throws FsError EIO */
export function checkArgon2(
  { time, memory, lanes }: { readonly time: number; readonly memory: number; readonly lanes: number },
  what: string,
): void {
  const isPossible = time >= 1 && lanes >= 1 && lanes <= MOST_LANES && memory >= 8 * lanes && memory < 2 ** 32
  if (isPossible && time < 2 ** 32) return
  throw new FsError('EIO', `${what} with time ${time}, memory ${memory} KiB and ${lanes} lanes is impossible`)
}

/** Adds up what derivations take, and refuses the one that would be too much. */
export class TimeBudget {
  readonly #limit: number
  #used = 0

  constructor({ seconds }: KdfLimits) {
    this.#limit = seconds
  }

  /** @param estimate seconds. @throws FsError ETIME, before the work begins; what the work throws */
  async run<T>(estimate: number, what: string, work: () => Promise<T> | T): Promise<T> {
    if (this.#used + estimate > this.#limit) {
      const before = this.#used > 1 ? ` after ${Math.ceil(this.#used)} s of others` : ''
      throw new FsError(
        'ETIME',
        `${what} would take about ${Math.ceil(estimate)} s${before}, and ${this.#limit} s are allowed (--kdf-time)`,
      )
    }
    const start = performance.now()
    try {
      return await work()
    } finally {
      this.#used += (performance.now() - start) / 1000
    }
  }
}
