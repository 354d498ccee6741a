import { UsageError } from '../base/index.ts'
import type { DriverName } from '../drivers/index.ts'
import type { VerifyMode } from '../molecule/index.ts'

/** Readers of single values. They throw a UsageError that names the option. */

const SUFFIX: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }

/** Bytes, with an optional suffix K, M or G (powers of 1024). */
export function parseSize(name: string, value: string, min: number, max: number): number {
  const match = /^(\d+)([KMG]?)$/i.exec(value)
  const unit = SUFFIX[(match?.[2] ?? '').toUpperCase()]
  const size = match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit
  return checkRange(name, value, size, min, max)
}

/** @throws UsageError for what is no whole number from `min` to `max` */
export function parseInteger(name: string, value: string, min: number, max: number): number {
  return checkRange(name, value, /^\d+$/.test(value) ? Number(value) : Number.NaN, min, max)
}

function checkRange(name: string, text: string, value: number, min: number, max: number): number {
  if (!(value >= min && value <= max)) {
    throw new UsageError(`option ${name}=${text}: expected a whole number from ${min} to ${max}`)
  }
  return value
}

/** Where an image begins in its file, bytes with an optional K, M or G. */
export function parseOffset(value: string, name = '--offset'): number {
  return parseSize(name, value, 0, Number.MAX_SAFE_INTEGER)
}

/** @throws UsageError */
export function parseVerifyMode(value: string): VerifyMode {
  if (value === 'auto' || value === 'lazy' || value === 'eager') return value
  throw new UsageError(`verify is auto, lazy or eager, not '${value}'`)
}

/** @throws UsageError */
export function parseDriver(value: string): DriverName {
  if (value === 'builtin' || value === 'fuse-native') return value
  throw new UsageError(`driver is builtin or fuse-native, not '${value}'`)
}

/** @throws UsageError with the words that would do */
export function oneOf<T extends string>(name: string, value: string, words: readonly T[]): T {
  const word = words.find((one) => one === value)
  if (word === undefined) throw new UsageError(`option ${name}=${value}: expected ${words.join(', ')}`)
  return word
}
