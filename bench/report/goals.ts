import { OURS_SQUASHFS } from '../readers/index.ts'
import {
  ATTRIBUTE_ROWS,
  busyInput,
  ENCRYPTED_INPUTS,
  LARGE_SIF,
  MANY,
  OVERLAY_SIF,
  PUZZLEFS_INPUTS,
  PUZZLEFS_SIZES,
  TAR_LAYERS,
  WRITABLE,
  WRITABLE_ROWS,
} from '../rows/index.ts'
import { findReader, type RowResult, ratioOf } from './statistics.ts'

export type Outcome = 'pass' | 'MISS' | 'not measured'

/** One cell of the table that says what must be reached. */
export interface Verdict {
  readonly goal: string
  readonly outcome: Outcome
  /** What was found, with its limit. */
  readonly found: string
}

interface RatioGoal {
  readonly input: string
  readonly row: string
  readonly against: string
  readonly limit: number
}

/** Rows that gzip and zstd share: limits against squashfuse_ll and against the kernel's squashfs. */
const MAIN: readonly { row: string; squashfuse: number; kernel: { gzip: number; zstd: number } }[] = [
  { row: 'find-cold', squashfuse: 0.25, kernel: { gzip: 2.5, zstd: 2.5 } },
  { row: 'find-warm', squashfuse: 0.2, kernel: { gzip: 1.5, zstd: 1.5 } },
  { row: 'tar-cold', squashfuse: 0.35, kernel: { gzip: 1.0, zstd: 1.3 } },
  { row: 'tar-warm', squashfuse: 0.35, kernel: { gzip: 1.5, zstd: 1.5 } },
  { row: 'big-cold', squashfuse: 0.7, kernel: { gzip: 0.7, zstd: 0.7 } },
  { row: 'parallel-cold', squashfuse: 0.7, kernel: { gzip: 0.7, zstd: 0.7 } },
]

/** squashfuse_ll with threads. */
const THREADED = 'squashfuse_ll-mt'

/** Single rows beside the main ones. */
const DETAILS: readonly RatioGoal[] = [
  { input: 'zstd', row: 'random-4k', against: 'kernel', limit: 1.5 },
  { input: 'zstd', row: 'tar-warm', against: 'kernel', limit: 1.1 },
  { input: 'zstd', row: 'big-cold', against: THREADED, limit: 0.75 },
  { input: 'zstd', row: 'first-read', against: 'kernel', limit: 1.0 },
  ...['python-cold', 'node-cold'].flatMap((row) =>
    [THREADED, 'kernel'].map((against) => ({ input: 'zstd', row, against, limit: 0.9 })),
  ),
  ...ATTRIBUTE_ROWS.flatMap((row) => [
    row.endsWith('cold')
      ? { input: 'attributes', row, against: 'kernel', limit: 1.5 }
      : { input: 'attributes', row, against: THREADED, limit: 0.5 },
    { input: 'no attributes', row, against: 'kernel', limit: 1.05 },
  ]),
]

const RATIO_GOALS: readonly RatioGoal[] = [
  ...(['gzip', 'zstd'] as const).flatMap((input) =>
    MAIN.flatMap(({ row, squashfuse, kernel }) => [
      { input, row, against: 'squashfuse_ll', limit: squashfuse },
      { input, row, against: 'kernel', limit: kernel[input] },
    ]),
  ),
  ...DETAILS,
  { input: 'xz small', row: 'tar-cold', against: 'kernel', limit: 1.0 },
  { input: '5 layers', row: 'find-cold', against: 'fuse-overlayfs', limit: 0.2 },
  { input: '5 layers', row: 'tar-cold', against: 'fuse-overlayfs', limit: 0.2 },
  { input: '5 layers', row: 'tar-cold', against: 'ours-unverified', limit: 1.15 },
  { input: 'making gzip', row: 'make', against: 'mksquashfs', limit: 1.0 },
  { input: 'making zstd', row: 'make', against: 'mksquashfs', limit: 1.1 },
  { input: 'making gzip', row: 'make-size', against: 'mksquashfs', limit: 1.01 },
  { input: 'making zstd', row: 'make-size', against: 'mksquashfs', limit: 1.01 },
  ...PUZZLEFS_INPUTS.flatMap((input) =>
    ['find-cold', 'tar-cold'].map((row) => ({ input, row, against: OURS_SQUASHFS, limit: 1.3 })),
  ),
  ...ENCRYPTED_INPUTS.map((input) => ({ input, row: 'tar-cold', against: OURS_SQUASHFS, limit: 1.5 })),
  { input: LARGE_SIF, row: 'mount', against: OURS_SQUASHFS, limit: 1.2 },
  ...['find-cold', 'tar-cold'].map((row) => ({
    input: OVERLAY_SIF,
    row,
    against: 'apptainer-stack',
    limit: 0.3,
  })),
  { input: TAR_LAYERS, row: 'mount', against: OURS_SQUASHFS, limit: 1.1 },
  { input: TAR_LAYERS, row: 'tar-cold', against: OURS_SQUASHFS, limit: 2.0 },
  ...WRITABLE_ROWS.map((row) => ({ input: WRITABLE, row, against: 'fuse-overlayfs', limit: 1.0 })),
]

/** Milliseconds; Node starts faster since 22. */
const MOUNT_LIMIT = { old: 150, new: 100 }
const MEMORY_LIMIT = 120
/** Of the program that makes an image, MiB. */
const MAKING_MEMORY_LIMIT = 300
/** How much more is still "not growing", for noise. */
const GROWTH_LIMIT = 1.15

/** How much greater a ratio may be while other processes use all processors. */
const BUSY_LIMIT = 1.2

/** Every cell of the table, with what this run found. */
export function judge(rows: readonly RowResult[], nodeMajor: number): Verdict[] {
  return [
    ...RATIO_GOALS.map((goal) => judgeRatio(rows, goal)),
    ...['gzip', 'zstd'].flatMap((input) =>
      MAIN.flatMap(({ row }) => [THREADED, 'kernel'].map((against) => judgeBusy(rows, input, row, against))),
    ),
    judgeMount(rows, nodeMajor >= 24 ? MOUNT_LIMIT.new : MOUNT_LIMIT.old),
    ...judgeMemory(rows),
    ...['making gzip', 'making zstd'].map((input) => judgeMakingMemory(rows, input)),
    ...judgeGrowth(rows),
    judgeHashing(rows),
    judgeFirstMount(rows),
    judgeIndexSize(rows),
  ]
}

function judgeRatio(rows: readonly RowResult[], { input, row, against, limit }: RatioGoal): Verdict {
  const goal = `${input}, ${row}, against ${against}`
  const [ours, other] = [findReader(rows, input, row, 'ours'), findReader(rows, input, row, against)]
  if (ours === undefined || other === undefined) return notMeasured(goal, `≤ ${limit} ×`)
  const { value, low, high } = ratioOf(ours, other)
  const range = `rounds ${low.toFixed(2)} to ${high.toFixed(2)}`
  return verdict(goal, value <= limit, `${value.toFixed(2)} × of ${limit} × (${range})`)
}

function judgeBusy(rows: readonly RowResult[], input: string, row: string, against: string): Verdict {
  const goal = `${busyInput(input)}, ${row}, against ${against}, of the ratio on a quiet machine`
  const [quiet, busy] = [input, busyInput(input)].map((name) => {
    const [ours, other] = [findReader(rows, name, row, 'ours'), findReader(rows, name, row, against)]
    return ours && other && ratioOf(ours, other).value
  })
  if (quiet === undefined || busy === undefined) return notMeasured(goal, `≤ ${BUSY_LIMIT} ×`)
  const growth = busy / quiet
  const found = `${quiet.toFixed(2)} to ${busy.toFixed(2)}: ${growth.toFixed(2)} × of ${BUSY_LIMIT} ×`
  return verdict(goal, growth <= BUSY_LIMIT, found)
}

function judgeMount(rows: readonly RowResult[], limit: number): Verdict {
  const goal = '5 layers, verified, mount to ready'
  const ours = findReader(rows, '5 layers', 'mount', 'ours')
  if (ours === undefined) return notMeasured(goal, `≤ ${limit} ms`)
  return verdict(goal, ours.median <= limit, `${ours.median.toFixed(0)} ms of ${limit} ms`)
}

function judgeMemory(rows: readonly RowResult[]): Verdict[] {
  const goal = 'resident memory after reading everything'
  const peaks = rows
    .filter(
      ({ row, input }) => row === 'rss-peak' && !/k files|wide|writable|busy|puzzlefs|tar layers/.test(input),
    )
    .flatMap(({ input, readers }) =>
      readers.filter(({ reader }) => reader === 'ours').map((r) => ({ input, peak: r.median })),
    )
    .sort((a, b) => b.peak - a.peak)
  const [worst] = peaks
  const largest =
    worst === undefined
      ? notMeasured(goal, `≤ ${MEMORY_LIMIT} MiB`)
      : verdict(
          goal,
          worst.peak <= MEMORY_LIMIT,
          `${worst.peak.toFixed(0)} MiB of ${MEMORY_LIMIT} MiB (${worst.input})`,
        )
  return [
    largest,
    judgeStep(rows, 'memory, 10 layers against 5', 'rss-peak', '5 layers', '10 layers', GROWTH_LIMIT),
    judgeStep(rows, 'memory, four times the files', 'rss-peak', ...manyInputs(), GROWTH_LIMIT),
  ]
}

function judgeMakingMemory(rows: readonly RowResult[], input: string): Verdict {
  const goal = `${input}, memory`
  const ours = findReader(rows, input, 'make-rss', 'ours')
  if (ours === undefined) return notMeasured(goal, `≤ ${MAKING_MEMORY_LIMIT} MiB`)
  const found = `${ours.median.toFixed(0)} MiB of ${MAKING_MEMORY_LIMIT} MiB`
  return verdict(goal, ours.median <= MAKING_MEMORY_LIMIT, found)
}

/** Linear: four times the files, at most four times the time and the noise. */
function judgeGrowth(rows: readonly RowResult[]): Verdict[] {
  const [small, large] = manyInputs()
  const factor = (MANY[1] / MANY[0]) * GROWTH_LIMIT
  return [
    judgeStep(rows, 'a million files: find grows linearly', 'find-cold', small, large, factor),
    judgeStep(rows, 'a million files: mount time does not grow', 'mount', small, large, GROWTH_LIMIT),
  ]
}

/** What larger metadata add to a mount is what hashing them takes. */
function judgeHashing(rows: readonly RowResult[]): Verdict {
  const goal = 'PuzzleFS: mount time grows by the time that hashing the metadata takes'
  const grown = (row: string): number | undefined => {
    const [from, to] = PUZZLEFS_SIZES.map((input) => findReader(rows, input, row, 'ours'))
    return from && to && to.median - from.median
  }
  const [mount, hashing, mebibytes] = ['mount', 'metadata-hash', 'metadata-size'].map(grown)
  if (mount === undefined || hashing === undefined || mebibytes === undefined) {
    return notMeasured(goal, `≤ ${GROWTH_LIMIT} ×`)
  }
  const ratio = mount / hashing
  const found = `${mount.toFixed(0)} ms for ${mebibytes.toFixed(0)} MiB, hashing ${hashing.toFixed(0)} ms: ${ratio.toFixed(2)} × of ${GROWTH_LIMIT} ×`
  return verdict(goal, ratio <= GROWTH_LIMIT, found)
}

/** The index of a tar layer is made while it is decompressed: that, and so much more. */
const FIRST_MOUNT = { factor: 1.5, seconds: 0.5 }

function judgeFirstMount(rows: readonly RowResult[]): Verdict {
  const { factor, seconds } = FIRST_MOUNT
  const goal = `${TAR_LAYERS}, first mount, against gunzip alone`
  const [ours, other] = ['ours', 'gunzip'].map((name) => findReader(rows, TAR_LAYERS, 'first-mount', name))
  if (ours === undefined || other === undefined) return notMeasured(goal, `≤ ${factor} × + ${seconds} s`)
  const limit = other.median * factor + seconds
  const found = `${ours.median.toFixed(2)} s of ${limit.toFixed(2)} s (${factor} × ${other.median.toFixed(2)} s + ${seconds} s)`
  return verdict(goal, ours.median <= limit, found)
}

function judgeIndexSize(rows: readonly RowResult[]): Verdict {
  const goal = `${TAR_LAYERS}, size of the index`
  const [size, limit] = ['index-size', 'index-limit'].map((row) => findReader(rows, TAR_LAYERS, row, 'ours'))
  if (size === undefined || limit === undefined)
    return notMeasured(goal, '≤ 5 % of the blob + 64 bytes and its name an entry')
  const found = `${size.median.toFixed(1)} MiB of ${limit.median.toFixed(1)} MiB`
  return verdict(goal, size.median <= limit.median, found)
}

function manyInputs(): [string, string] {
  return [`${MANY[0]}k files`, `${MANY[1]}k files`]
}

function judgeStep(
  rows: readonly RowResult[],
  goal: string,
  row: string,
  small: string,
  large: string,
  limit: number,
): Verdict {
  const [from, to] = [findReader(rows, small, row, 'ours'), findReader(rows, large, row, 'ours')]
  if (from === undefined || to === undefined) return notMeasured(goal, `≤ ${limit.toFixed(2)} ×`)
  const ratio = to.median / from.median
  const found = `${from.median.toFixed(0)} to ${to.median.toFixed(0)}: ${ratio.toFixed(2)} × of ${limit.toFixed(2)} ×`
  return verdict(goal, ratio <= limit, found)
}

function verdict(goal: string, passed: boolean, found: string): Verdict {
  return { goal, outcome: passed ? 'pass' : 'MISS', found }
}

function notMeasured(goal: string, limit: string): Verdict {
  return { goal, outcome: 'not measured', found: limit }
}
