import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { isMounted } from '../test/library/programs/mount-table.ts'
import { run } from '../test/library/programs/process.ts'
import type { Inputs, Subject } from './inputs/index.ts'
import { otherWork, type Unit } from './measure/index.ts'
import type { Mounted, Reader, Upper } from './readers/index.ts'
import { makeUpper, removeUpper, unmountTarget } from './readers/index.ts'
import type { Scenario } from './rows/index.ts'

export interface Sample {
  readonly input: string
  readonly row: string
  readonly reader: string
  readonly round: number
  readonly value: number
  readonly unit: Unit
}

export interface Failure {
  readonly input: string
  readonly scenario: string
  readonly reader: string
  readonly round: number
  readonly message: string
}

export interface RunResult {
  readonly samples: readonly Sample[]
  readonly failures: readonly Failure[]
  /** False where it was interrupted. */
  readonly complete: boolean
}

export interface RunPlan {
  readonly scenarios: readonly Scenario[]
  readonly readers: readonly Reader[]
  readonly inputs: Inputs
  readonly rounds: number
  /** For mount points; made and removed by the caller. */
  readonly directory: string
  /** For the changes to writable mounts, on a disk; made when needed and removed by the caller. */
  readonly upperDirectory: string
  readonly log: (line: string) => void
  readonly interrupted: () => boolean
}

/** After so many failures of the same kind the reader is left out of the scenario. */
const FAILURE_LIMIT = 2

/**
 * Measures all scenarios in every round, and in each scenario one reader after the other, so that a slow minute of
 * the machine falls on all of them. Every round begins with another reader.
 */
export async function runBench(plan: RunPlan): Promise<RunResult> {
  const subjects = new Map<Scenario, Subject>()
  for (const scenario of plan.scenarios) subjects.set(scenario, await scenario.subject(plan.inputs))
  // What building has left to write would otherwise be written while we measure.
  await run('sync', [], { timeout: 300_000 })
  const samples: Sample[] = []
  const failures: Failure[] = []
  for (let round = 0; round < plan.rounds; round += 1) {
    for (const [scenario, subject] of subjects) {
      for (const reader of inOrderOfRound(readersFor(plan, scenario, subject), round)) {
        if (plan.interrupted()) return { samples, failures, complete: false }
        const { name } = reader
        const { name: scenarioName, input } = scenario
        const isSame = (f: Failure) => f.reader === name && f.scenario === scenarioName && f.input === input
        if (round >= (scenario.fewerRounds?.[name] ?? plan.rounds)) continue
        if (failures.filter(isSame).length >= FAILURE_LIMIT) continue
        const taken: Sample[] = []
        const record = (row: string, value: number, unit: Unit): void => {
          taken.push({ input, row, reader: name, round, value, unit })
        }
        const title = `${round + 1}/${plan.rounds} ${input}, ${scenarioName}, ${name}`
        try {
          for (let i = 0; i < (scenario.repeat ?? 1); i += 1) {
            await measureOnce(plan, scenario, subject, reader, record)
          }
          plan.log(
            `${title}: ${taken.map((s) => `${s.row} ${s.value.toFixed(s.unit === 's' ? 2 : 0)} ${s.unit}`).join(', ')}`,
          )
        } catch (error) {
          const message = error instanceof Error ? error.message : String(error)
          failures.push({ input, scenario: scenarioName, reader: name, round, message })
          plan.log(`${title}: FAILED: ${message}`)
        }
        samples.push(...taken)
      }
    }
  }
  return { samples, failures, complete: true }
}

export function readersFor(plan: Pick<RunPlan, 'readers'>, scenario: Scenario, subject: Subject): Reader[] {
  return plan.readers.filter(
    (reader) =>
      scenario.readers.includes(reader.name) &&
      reader.missing() === undefined &&
      (scenario.make === undefined
        ? reader.accepts(subject, scenario.writable === true)
        : (reader.make ?? reader.extract ?? reader.first) !== undefined),
  )
}

function inOrderOfRound(readers: readonly Reader[], round: number): Reader[] {
  const start = readers.length === 0 ? 0 : round % readers.length
  return [...readers.slice(start), ...readers.slice(0, start)]
}

/** One fresh mount, with a fresh upper where there is to be one, or one image made or extracted, and taken away again. */
async function measureOnce(
  { directory, upperDirectory }: RunPlan,
  scenario: Scenario,
  subject: Subject,
  reader: Reader,
  record: (row: string, value: number, unit: Unit) => void,
): Promise<void> {
  if (scenario.make !== undefined) {
    mkdirSync(upperDirectory, { recursive: true })
    const own = mkdtempSync(join(upperDirectory, 'made-'))
    try {
      await scenario.make({ maker: reader, subject, directory: own, record })
    } finally {
      rmSync(own, { recursive: true, force: true })
    }
    return
  }
  const own = mkdtempSync(join(directory, 'mount-'))
  const [target, work] = [join(own, 'target'), join(own, 'work')]
  // One for each mount: what cannot be unmounted is then in nobody's way.
  const disk = join(upperDirectory, basename(own))
  for (const path of [target, work]) mkdirSync(path)
  let [mounted, upper]: [Mounted | undefined, Upper | undefined] = [undefined, undefined]
  const endOtherWork = scenario.busy === true ? otherWork() : undefined
  try {
    if (scenario.writable === true) upper = await makeUpper(disk)
    scenario.prepare?.(subject)
    const start = performance.now()
    mounted = await reader.mount(subject, target, work, upper)
    // Ready is when the root answers.
    await run('stat', ['-c', '%i', `${target}/.`], { timeout: 30_000 })
    if (scenario.rows.includes('mount')) record('mount', performance.now() - start, 'ms')
    if (!isMounted(target)) throw new Error('nothing is mounted')
    await scenario.measure({ target, subject, pids: mounted.pids, record })
  } finally {
    await mounted?.unmount()
    await unmountTarget(target)
    endOtherWork?.()
    rmSync(own, { recursive: true, force: true, maxRetries: 3 })
    if (scenario.writable === true) await removeUpper(disk)
  }
}
