import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import { dropCaches } from '../measure/index.ts'
import { statisticsOf } from '../report/statistics.ts'
import { allAtOnce, allWays, Mounts, type Way } from './mounts.ts'

/**
 * `--inputs density`: what many mounts of one image cost, by own servers, by a shared one and by other programs. One round
 * measures all ways one after the other.
 */

export interface DensityOptions {
  readonly program: string
  readonly squashfuse: string
  readonly image: string
  /** For mount points and runtime data. */
  readonly directory: string
  readonly rounds: number
  /** Names of the ways to measure; all where empty. */
  readonly ways: readonly string[]
  /** Mounts at once, 100 where the machine is large enough. */
  readonly mounts: number
  readonly log: (line: string) => void
  readonly interrupted: () => boolean
}

const MIB = 2 ** 20
const NODE = 'node -e 0'

/** Values by row and way. */
type Found = Map<string, Map<string, number[]>>

/** @returns the table, and whether all aims were reached */
export async function measureDensity(options: DensityOptions): Promise<{ text: string; passed: boolean }> {
  const found: Found = new Map()
  const isWanted = (name: string): boolean => options.ways.length === 0 || options.ways.includes(name)
  const ways = allWays(options.program, options.squashfuse, join(options.directory, 'run'))
  for (let round = 1; round <= options.rounds && !options.interrupted(); round++) {
    await measureNode(found)
    for (const way of ways) {
      if (way.missing() !== undefined || !isWanted(way.name)) continue
      options.log(`round ${round} of ${options.rounds}: ${way.name}`)
      await measureWay(way, options, found)
    }
  }
  return report(found, options.mounts)
}

async function measureNode(found: Found): Promise<void> {
  for (let i = 0; i < 5; i++) {
    const start = performance.now()
    await run(process.execPath, ['-e', '0'], { env: { NODE_EXTRA_CA_CERTS: undefined } })
    record(found, 'ready, further mount (ms)', NODE, performance.now() - start)
  }
}

async function measureWay(way: Way, options: DensityOptions, found: Found): Promise<void> {
  const { image, directory, mounts: most } = options
  const put = (row: string, value: number): void => record(found, row, way.name, value)
  const place = join(directory, 'mounts')
  mkdirSync(place, { recursive: true })
  const mounts = new Mounts(way, image, directory)
  try {
    put('ready, first mount (ms)', await mounts.grow(1))
    await settle()
    put('1 mount (MiB)', mounts.memory() / MIB)
    for (let count = 2; count <= 6; count++) put('ready, further mount (ms)', await mounts.grow(count))
    await mounts.grow(10)
    await settle()
    put('10 mounts (MiB)', mounts.memory() / MIB)
    await dropCaches()
    put('one reader, cold (ms)', await allAtOnce(mounts.targets.slice(0, 1), READ_ALL))
    await mounts.grow(most)
    await settle()
    put('all mounts (MiB)', mounts.memory() / MIB)
    await dropCaches()
    put('all mounts read at once (ms)', await allAtOnce(mounts.targets, READ_ALL))
    put('small reads beside heavy ones (ms)', await besideHeavy(mounts.targets))
  } finally {
    await mounts.end()
  }
}

const READ_ALL = 'tar -C "$0" -cf - . | cat >/dev/null'
/** Reads of the small reader. */
const SMALL_READS = 20

/** Heavy readers never end; the small one lists and reads something else each time. @returns ms of one read, median */
async function besideHeavy([small = '', ...heavy]: readonly string[]): Promise<number> {
  const files = smallFiles(small)
  await dropCaches()
  const loop = 'while :; do tar -C "$0" -cf - . | cat >/dev/null; done'
  const readers = heavy.map((target) =>
    spawn('sh', ['-c', loop, target], { stdio: 'ignore', detached: true }),
  )
  try {
    await new Promise((resolve) => setTimeout(resolve, 500))
    const times: number[] = []
    for (let i = 0; i < SMALL_READS; i++) {
      const start = performance.now()
      await run('cat', [files[(i * 37) % files.length] ?? small])
      times.push(performance.now() - start)
    }
    return statisticsOf(times).median
  } finally {
    for (const { pid } of readers) if (pid !== undefined) process.kill(-pid, 'SIGKILL')
    await Promise.all(readers.map((reader) => reader.exitCode ?? once(reader, 'close')))
  }
}

function smallFiles(target: string): readonly string[] {
  return readdirSync(target, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .slice(0, 2000)
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Until what a start leaves behind has been collected, and data workers have gone. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 7000))
}

function record(found: Found, row: string, way: string, value: number): void {
  const values = found.get(row) ?? new Map<string, number[]>()
  found.set(row, values)
  values.set(way, [...(values.get(way) ?? []), value])
}

function outcomeOf(value: number, limit: number): string {
  if (Number.isNaN(value)) return 'not measured'
  return value <= limit ? 'pass' : 'MISS'
}

interface Aim {
  readonly text: string
  readonly limit: number
  readonly value: number
}

function report(found: Found, mounts: number): { text: string; passed: boolean } {
  const median = (row: string, way: string): number => {
    const values = found.get(row)?.get(way)
    return values === undefined ? Number.NaN : statisticsOf(values).median
  }
  const lines = [...found].flatMap(([row, byWay]) =>
    [...byWay].map(([way, values]) => {
      const { median: middle, min, max, count } = statisticsOf(values)
      const numbers = [middle, min, max].map((value) => value.toFixed(1).padStart(9)).join('')
      return `${row.padEnd(36)}${way.padEnd(16)}${numbers}${String(count).padStart(4)}`
    }),
  )
  const further = (median('all mounts (MiB)', 'shared') - median('10 mounts (MiB)', 'shared')) / (mounts - 10)
  const ready = median('ready, further mount (ms)', 'shared') / median('ready, further mount (ms)', NODE)
  const reading = median('one reader, cold (ms)', 'shared') / median('one reader, cold (ms)', 'own')
  const aims: readonly Aim[] = [
    { text: `${mounts} shared mounts, MiB`, limit: 350, value: median('all mounts (MiB)', 'shared') },
    { text: 'a further shared mount, MiB', limit: 3, value: further },
    { text: `a further shared mount is ready, times ${NODE}`, limit: 1.8, value: ready },
    { text: 'reading through a shared server, times own', limit: 1.05, value: reading },
  ]
  const verdicts = aims.map(
    ({ text, limit, value }) => `${outcomeOf(value, limit)}  ${text}: ${value.toFixed(2)}, at most ${limit}`,
  )
  const load = readFileSync('/proc/loadavg', 'utf8').trim()
  const head = `${'row'.padEnd(36)}${'way'.padEnd(16)}   median      min      max   n`
  const text = [head, ...lines, '', ...verdicts, `load at the end: ${load}`].join('\n')
  return { text, passed: aims.every(({ limit, value }) => value <= limit) }
}
