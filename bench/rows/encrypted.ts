import type { Inputs } from '../inputs/index.ts'
import { OURS_SQUASHFS } from '../readers/index.ts'
import type { Scenario } from './scenario.ts'
import { measureBigFile, measureTar, TAR_ROWS } from './whole-tree.ts'

/** Bytes of what is encrypted at once. */
const SECTORS = [512, 4096] as const

/** Inputs with which encrypted images are compared with plain ones. */
export const ENCRYPTED_INPUTS: readonly string[] = SECTORS.map(inputOf)

const PARTS = [
  { name: 'tar', rows: TAR_ROWS, measure: measureTar },
  { name: 'big', rows: ['big-cold'], measure: measureBigFile },
]

export function encrypted(): Scenario[] {
  return SECTORS.flatMap((sector) =>
    PARTS.map((part) => ({
      ...part,
      input: inputOf(sector),
      readers: ['ours', OURS_SQUASHFS],
      main: false,
      subject: (inputs: Inputs) => inputs.encrypted(sector),
    })),
  )
}

function inputOf(sector: number): string {
  return `encrypted ${sector}`
}
