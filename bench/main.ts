import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mountsBelow } from '../test/library/programs/mount-table.ts'
import { measureDensity } from './density/density.ts'
import { InputCache, Inputs } from './inputs/index.ts'
import { type BenchOptions, parseOptions, USAGE } from './options.ts'
import { prepareProgram } from './program.ts'
import { allReaders } from './readers/index.ts'
import { machineFacts, reportRun } from './report/index.ts'
import { chooseScenarios } from './rows/index.ts'
import { runBench } from './run.ts'

/**
 * Entry of `npm run bench`; the working directory is the repository. Progress goes to stderr, results to stdout. With
 * `client` as its first argument it is one of the programs that use a mount.
 */

const log = (line: string): void => {
  process.stderr.write(`${line}\n`)
}

/** The input that is no image: how many mounts there can be. */
const DENSITY = 'density'

let interrupted = false

async function measure(options: BenchOptions): Promise<number> {
  const repository = process.cwd()
  const now = new Date()
  const isDensity = options.inputs.includes(DENSITY)
  const scenarios = isDensity ? [] : chooseScenarios(options)
  if (scenarios.length === 0 && !isDensity)
    throw new Error('no scenario has these rows, readers and inputs: see --list')
  if (process.geteuid?.() !== 0)
    throw new Error('needs root: to drop the page cache and for the kernel mounts')
  const directory = mkdtempSync(join(tmpdir(), 'atomfs-bench-run-'))
  // Not in the directory for temporary files, which may be in memory.
  const upperDirectory = join(options.directory, `upper-${process.pid}`)
  try {
    const program = await prepareProgram(repository, directory, log)
    if (isDensity) return await measureMany(program, directory, options)
    const readers = allReaders(program, options)
    const wanted = new Set(scenarios.flatMap((scenario) => scenario.readers))
    for (const reader of readers) {
      const reason = wanted.has(reader.name) ? reader.missing() : undefined
      if (reason !== undefined) log(`left out: ${reader.name}: ${reason}`)
    }
    const machine = machineFacts(repository, now, options.squashfuseLl)
    mkdirSync(options.directory, { recursive: true })
    const inputs = new Inputs(new InputCache(options.directory, log), options.scale)
    const start = performance.now()
    const result = await runBench({
      scenarios,
      readers,
      inputs,
      rounds: options.rounds,
      directory,
      upperDirectory,
      log,
      interrupted: () => interrupted,
    })
    process.stdout.write(`${reportRun(result, machine, options)}\n`)
    log(`took ${((performance.now() - start) / 60_000).toFixed(1)} minutes`)
    return result.complete && result.failures.length === 0 ? 0 : 1
  } finally {
    const mounts = [...mountsBelow(directory), ...mountsBelow(upperDirectory)]
    if (mounts.length > 0) log(`still mounted: ${mounts.join(', ')}`)
    else if (options.keep) log(`kept ${directory}`)
    else rmSync(directory, { recursive: true, force: true })
    if (mounts.length === 0) rmSync(upperDirectory, { recursive: true, force: true })
  }
}

/** What many mounts of one image cost. @returns the exit code */
async function measureMany(program: string, directory: string, options: BenchOptions): Promise<number> {
  mkdirSync(options.directory, { recursive: true })
  const inputs = new Inputs(new InputCache(options.directory, log), options.scale)
  const { unverified: image } = await inputs.image('small', 'zstd')
  const { text, passed } = await measureDensity({
    ...{ program, image, directory, log, rounds: options.rounds, ways: options.readers },
    squashfuse: options.squashfuseLl,
    mounts: Math.max(12, Math.round(100 * options.scale)),
    interrupted: () => interrupted,
  })
  process.stdout.write(`${text}\n`)
  return passed ? 0 : 1
}

function listAll(options: BenchOptions): void {
  for (const { input, name, rows, readers } of chooseScenarios({ ...options, million: true, busy: true })) {
    process.stdout.write(`${input}: ${name} (${rows.join(', ')}): ${readers.join(', ')}\n`)
  }
  process.stdout.write(`${DENSITY}: many mounts of one image (bench/density/density.ts)\n`)
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes('--help')) {
    process.stdout.write(`${USAGE}\n`)
    return 0
  }
  if (args[0] === 'client') {
    const { runClient } = await import('./clients/index.ts')
    process.stdout.write(runClient(args.slice(1)))
    return 0
  }
  if (args[0] === 'micro') {
    const { runMicro } = await import('./micro/index.ts')
    await runMicro(args.slice(1))
    return 0
  }
  const options = parseOptions(args, new Date())
  if (options.list) listAll(options)
  else return await measure(options)
  return 0
}

// The running child gets the signal as well and fails; everything is then unmounted on the way out.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    interrupted = true
  })
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  log(`Error: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
