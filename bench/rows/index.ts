import type { Inputs } from '../inputs/index.ts'
import type { BenchOptions } from '../options.ts'
import { ON_REQUEST } from '../readers/index.ts'
import { ATTRIBUTE_ROWS, measureAttributes } from './attributes.ts'
import { encrypted } from './encrypted.ts'
import { extracting } from './extracting.ts'
import { measureFirstRead } from './first-read.ts'
import { making } from './making.ts'
import { measureManyNames } from './many-names.ts'
import { puzzlefs } from './puzzlefs.ts'
import { measureRandom } from './random.ts'
import type { Scenario } from './scenario.ts'
import { sif } from './sif.ts'
import { measureStartUp } from './start-up.ts'
import { tarLayers } from './tar-layers.ts'
import {
  measureBigFile,
  measureFind,
  measureNothing,
  measureParallel,
  measureTar,
  TAR_ROWS,
} from './whole-tree.ts'
import { writable } from './writable.ts'

export { ATTRIBUTE_ROWS } from './attributes.ts'
export { ENCRYPTED_INPUTS } from './encrypted.ts'
export { PUZZLEFS_INPUTS, PUZZLEFS_SIZES } from './puzzlefs.ts'
export type { Scenario } from './scenario.ts'
export { LARGE_SIF, OVERLAY_SIF } from './sif.ts'
export { TAR_LAYERS } from './tar-layers.ts'
export { WRITABLE, WRITABLE_ROWS } from './writable.ts'

const SINGLE = ['ours', 'squashfuse_ll', 'squashfuse_ll-mt', 'kernel']
const LAYERED = ['ours', 'ours-unverified', 'fuse-overlayfs', 'kernel-overlay']
/** squashfuse by paths takes several times as long as anything else. */
const ORIENTATION = { squashfuse: 2 }

/** The rows that every reader of one image has. */
const WHOLE_TREE = [
  { name: 'mount', rows: ['mount'], measure: measureNothing, repeat: 2 },
  { name: 'find', rows: ['find-cold', 'find-warm'], measure: measureFind },
  { name: 'tar', rows: TAR_ROWS, measure: measureTar },
  { name: 'big', rows: ['big-cold'], measure: measureBigFile },
  { name: 'parallel', rows: ['parallel-cold'], measure: measureParallel },
]

function singleImage(compressor: 'gzip' | 'zstd'): Scenario[] {
  const subject = (inputs: Inputs) => inputs.image('tree', compressor)
  const readers = compressor === 'gzip' ? [...SINGLE, 'squashfuse'] : SINGLE
  return WHOLE_TREE.map((part) => ({
    ...part,
    input: compressor,
    readers,
    fewerRounds: ORIENTATION,
    main: true,
    subject,
  }))
}

function layers(count: number, readers: readonly string[], main: boolean): Scenario[] {
  const subject = (inputs: Inputs) => inputs.layers(count, 'zstd')
  return WHOLE_TREE.filter(({ name }) => ['mount', 'find', 'tar'].includes(name)).map((part) => ({
    ...part,
    input: `${count} layers`,
    readers,
    main,
    subject,
  }))
}

/** Compressors beside the two main ones, on a smaller tree. */
function compressors(): Scenario[] {
  return (['xz', 'lzo', 'lz4'] as const).map((compressor) => ({
    name: 'tar',
    input: `${compressor} small`,
    rows: TAR_ROWS,
    readers: SINGLE,
    main: false,
    subject: (inputs: Inputs) => inputs.image('small', compressor),
    measure: measureTar,
  }))
}

function details(): Scenario[] {
  const common = { readers: SINGLE, main: false }
  const zstd = (inputs: Inputs) => inputs.image('tree', 'zstd')
  return [
    {
      ...common,
      name: 'random',
      input: 'zstd',
      rows: ['random-4k', 'random-64k'],
      subject: zstd,
      measure: measureRandom,
    },
    {
      ...common,
      name: 'first-read',
      input: 'zstd',
      rows: ['first-read'],
      subject: zstd,
      measure: measureFirstRead,
    },
    ...([true, false] as const).map((withAttributes) => ({
      ...common,
      name: 'attributes',
      input: withAttributes ? 'attributes' : 'no attributes',
      rows: ATTRIBUTE_ROWS,
      subject: (inputs: Inputs) => inputs.attributes(withAttributes),
      measure: measureAttributes,
    })),
    {
      ...common,
      name: 'start-up',
      input: 'zstd',
      rows: ['python-cold', 'python-warm', 'node-cold', 'node-warm'],
      subject: zstd,
      measure: measureStartUp,
    },
    {
      ...common,
      name: 'many-names',
      input: 'wide directory',
      rows: ['lookup-1000-cold', 'find-cold', 'rss-peak', 'pss'],
      subject: (inputs) => inputs.wide(),
      measure: measureManyNames,
    },
  ]
}

/** Rounds of the busy rows: they take long. */
const BUSY_ROUNDS = 3

/** What the input of a scenario is called while other processes use all processors. */
export function busyInput(input: string): string {
  return `${input}, busy`
}

/** The same scenario while other processes use all processors. */
function whileBusy(scenario: Scenario): Scenario {
  const rounds = scenario.readers.map((reader) => [
    reader,
    Math.min(BUSY_ROUNDS, scenario.fewerRounds?.[reader] ?? BUSY_ROUNDS),
  ])
  return {
    ...scenario,
    input: busyInput(scenario.input),
    fewerRounds: Object.fromEntries(rounds),
    busy: true,
  }
}

/** Thousands of files: the same tree in two sizes shows whether cost grows with the work. */
export const MANY = [250, 1000] as const

function millions(): Scenario[] {
  return MANY.flatMap((thousands) => {
    const common = {
      input: `${thousands}k files`,
      readers: SINGLE,
      fewerRounds: { squashfuse_ll: 2, 'squashfuse_ll-mt': 2, kernel: 3, ours: 3 },
      main: false,
      million: true,
      subject: (inputs: Inputs) => inputs.many(thousands),
    }
    return [
      { ...common, name: 'mount', rows: ['mount'], measure: measureNothing, repeat: 2 },
      {
        ...common,
        name: 'many-names',
        rows: ['lookup-1000-cold', 'find-cold', 'rss-peak', 'pss'],
        measure: measureManyNames,
      },
    ]
  })
}

/** The scenarios that the options leave, in the order in which they run. */
export function chooseScenarios(options: BenchOptions): Scenario[] {
  const usual = [
    ...singleImage('gzip'),
    ...singleImage('zstd'),
    ...layers(5, LAYERED, true),
    ...layers(10, ['ours', 'kernel-overlay'], false),
    ...details(),
    ...compressors(),
    ...puzzlefs(),
    ...encrypted(),
    ...sif(),
    ...tarLayers(),
    ...writable(),
    ...making(),
    ...extracting(),
    ...millions(),
  ]
  const busy = usual.filter(({ main, writable }) => main && writable !== true).map(whileBusy)
  const all = [...usual, ...(options.busy ? busy : [])]
  const extra = [...options.compare.map(({ name }) => name), ...options.readers.filter(isOnRequest)]
  return all
    .filter(({ main }) => main || !options.quick)
    .filter(({ million }) => million !== true || options.million)
    .filter(
      ({ input }) =>
        options.inputs.length === 0 ||
        options.inputs.some((wanted) => [wanted, busyInput(wanted)].includes(input)),
    )
    .filter(
      ({ name, rows }) =>
        options.rows.length === 0 || options.rows.some((row) => row === name || rows.includes(row)),
    )
    .map((scenario) => {
      const readers = [...scenario.readers, ...extra]
      return { ...scenario, readers: readers.filter((name) => isWanted(name, options)) }
    })
    .filter(({ readers }) => readers.length > 0)
}

function isOnRequest(name: string): boolean {
  return ON_REQUEST.includes(name)
}

function isWanted(name: string, { readers }: BenchOptions): boolean {
  return readers.length === 0 || readers.includes(name)
}
