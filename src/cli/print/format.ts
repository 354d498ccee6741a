import { printable } from '../../base/index.ts'
import type { TarReport } from '../../molecule/index.ts'

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** Bytes with a unit, whole where it divides and else with one digit. */
export function formatBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${UNITS[unit]}`
}

/** Twelve digits tell layers apart; the whole digest is in the JSON. */
export function shortLabel(label: string): string {
  return label.replace(/^(sha(?:256|512):[0-9a-f]{12})[0-9a-f]+$/, '$1')
}

/** Text for people: each line stays one line, also with control characters in names and messages. */
export function formatLines(lines: readonly string[]): string {
  return lines.map((line) => `${printable(line)}\n`).join('')
}

/** One line for each. */
export function formatWarnings(warnings: readonly string[]): string {
  return formatLines(warnings.map((warning) => `Warning: ${warning}`))
}

/** What was made of a tar layer to read it. */
export function describeTar({ how, bytes, checkpoints = 0 }: TarReport): string {
  if (how === 'converted') return `converted to an image of ${formatBytes(bytes)}`
  const places = checkpoints === 0 ? '' : ` and ${checkpoints} checkpoints`
  return `read through an index of ${formatBytes(bytes)}${places}`
}
