import { pbkdf2Sync } from 'node:crypto'
import type { Argon2, Argon2Parameters } from './argon2.ts'

/**
 * Estimates what a derivation takes on this machine. What is surely short is not tried out: the rates are those of a slow
 * machine.
 */
const SLOW = {
  /** Seconds for a pass of argon2 over 1 MiB. */
  argon2: 0.02,
  /** Iterations of PBKDF2 in a second. */
  pbkdf2: 50_000,
}
/** What takes so long at most on a slow machine is not tried out, seconds. */
const SURELY_SHORT = 10

const PROBE_MEMORY = 8 << 10
const PROBE_ITERATIONS = 20_000

/** @returns seconds */
export async function estimateArgon2(argon2: Argon2, parameters: Argon2Parameters): Promise<number> {
  const passes = (parameters.memory / 1024) * parameters.time
  if (passes * SLOW.argon2 <= SURELY_SHORT) return passes * SLOW.argon2
  const start = performance.now()
  await argon2.derive(new Uint8Array(8), {
    ...parameters,
    salt: new Uint8Array(16),
    time: 1,
    memory: Math.max(PROBE_MEMORY, 8 * parameters.lanes),
  })
  const perMebibyte = (performance.now() - start) / 1000 / (PROBE_MEMORY / 1024)
  return perMebibyte * passes
}

/** @param blocks digests that the result is made of. @returns seconds */
export function estimatePbkdf2(iterations: number, blocks: number, hash: string): number {
  const rounds = iterations * blocks
  if (rounds / SLOW.pbkdf2 <= SURELY_SHORT) return rounds / SLOW.pbkdf2
  const start = performance.now()
  pbkdf2Sync('', new Uint8Array(16), PROBE_ITERATIONS, 16, hash)
  return ((performance.now() - start) / 1000 / PROBE_ITERATIONS) * rounds
}
