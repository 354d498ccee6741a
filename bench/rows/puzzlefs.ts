import { closeSync, openSync, readFileSync, statSync } from 'node:fs'
import { FileSource } from '../../src/sys/files/file-source.ts'
import { hashSource } from '../../src/verity/index.ts'
import type { Inputs, PuzzlefsForm, Subject } from '../inputs/index.ts'
import type { Session } from '../measure/index.ts'
import { OURS_SQUASHFS } from '../readers/index.ts'
import type { Scenario } from './scenario.ts'
import { measureFind, measureNothing, measureTar, TAR_ROWS } from './whole-tree.ts'

const FORMS: readonly PuzzlefsForm[] = ['raw', 'zstd']
/** Thousands of inodes: the same metadata in two sizes shows what of a mount grows with them. */
const METADATA = [57, 228] as const

const MIB = 2 ** 20

/** Inputs with which PuzzleFS is compared with squashfs. */
export const PUZZLEFS_INPUTS: readonly string[] = FORMS.map(inputOf)

/** Inputs with metadata of two sizes, the smaller one first. */
export const PUZZLEFS_SIZES: readonly [string, string] = [sizedInput(METADATA[0]), sizedInput(METADATA[1])]

const PARTS = [
  { name: 'mount', rows: ['mount'], measure: measureNothing, repeat: 2, prepare: readMetadata },
  { name: 'find', rows: ['find-cold', 'find-warm'], measure: measureFind },
  { name: 'tar', rows: TAR_ROWS, measure: measureTar },
]

export function puzzlefs(): Scenario[] {
  const compared = FORMS.flatMap((form) =>
    PARTS.map((part) => ({
      ...part,
      input: inputOf(form),
      readers: ['ours', OURS_SQUASHFS],
      main: false,
      subject: (inputs: Inputs) => inputs.puzzlefs(form),
    })),
  )
  const sized = METADATA.map((thousands) => ({
    name: 'mount',
    input: sizedInput(thousands),
    rows: ['mount', 'metadata-size', 'metadata-hash'],
    readers: ['ours'],
    main: false,
    repeat: 3,
    prepare: readMetadata,
    subject: (inputs: Inputs) => inputs.puzzlefsMetadata(thousands),
    measure: measureHashing,
  }))
  return [...compared, ...sized]
}

function inputOf(form: PuzzlefsForm): string {
  return `puzzlefs ${form}`
}

function sizedInput(thousands: number): string {
  return `puzzlefs ${thousands}k inodes`
}

/** Other scenarios have dropped the page cache. */
function readMetadata({ metadata }: Subject): void {
  if (metadata !== undefined) readFileSync(metadata)
}

/** What the mount has done before it was ready: each block is hashed, and the whole. */
async function measureHashing({ subject: { metadata }, record }: Session): Promise<void> {
  if (metadata === undefined) throw new Error('an image without metadata that are hashed')
  const { size } = statSync(metadata)
  const fd = openSync(metadata, 'r')
  try {
    const start = performance.now()
    hashSource(new FileSource(fd, metadata, size, false), 'sha256')
    record('metadata-hash', performance.now() - start, 'ms')
    record('metadata-size', size / MIB, 'MiB')
  } finally {
    closeSync(fd)
  }
}
