import * as v from 'valibot'
import { type PathText, UsageError } from '../../base/index.ts'
import { parseValue } from '../../oci/index.ts'

const Words = v.nullish(v.array(v.string()))

/** Sets of names: Go writes `map[string]struct{}`. */
const Names = v.nullish(v.record(v.string(), v.unknown()))

const Text = v.nullish(v.string())

/** What of an image configuration says how its program is started (image-spec: config.md, "Properties"). */
const RunSchema = v.looseObject({
  created: Text,
  author: Text,
  os: Text,
  architecture: Text,
  variant: Text,
  'os.version': Text,
  'os.features': Words,
  config: v.nullish(
    v.looseObject({
      User: Text,
      ExposedPorts: Names,
      Env: Words,
      Entrypoint: Words,
      Cmd: Words,
      Volumes: Names,
      WorkingDir: Text,
      Labels: v.nullish(v.record(v.string(), v.string())),
      StopSignal: Text,
    }),
  ),
})

/** How an image wants its program to be started. Absent values are empty. */
export interface RunConfig {
  /** `USER[:GROUP]`, by names or numbers. */
  readonly user: string
  readonly env: readonly string[]
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  readonly workingDir: string
  readonly volumes: readonly PathText[]
  readonly exposedPorts: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  readonly stopSignal: string
  /** `os`, `architecture` and others, by the names that annotations have for them. */
  readonly facts: Readonly<Record<string, string>>
}

/** What is known without a configuration: nothing. */
export const NO_CONFIG: RunConfig = {
  ...{ user: '', env: [], entrypoint: [], command: [], workingDir: '', volumes: [] },
  ...{ exposedPorts: [], labels: {}, stopSignal: '', facts: {} },
}

/**
 * Reads what an image configuration says of its program.
 * @throws FsError EIO where a field has another type; UsageError for a text with a NUL, which no program can get
 */
export function runConfigOf(config: Readonly<Record<string, unknown>>, where: string): RunConfig {
  const parsed = parseValue(RunSchema, config, where)
  const run = parsed.config ?? {}
  const facts = {
    os: parsed.os,
    architecture: parsed.architecture,
    variant: parsed.variant,
    'os.version': parsed['os.version'],
    'os.features': parsed['os.features']?.join(','),
    author: parsed.author,
    created: parsed.created,
  }
  const read: RunConfig = {
    user: run.User ?? '',
    env: run.Env ?? [],
    entrypoint: run.Entrypoint ?? [],
    command: run.Cmd ?? [],
    workingDir: run.WorkingDir ?? '',
    volumes: Object.keys(run.Volumes ?? {}),
    exposedPorts: Object.keys(run.ExposedPorts ?? {}),
    labels: run.Labels ?? {},
    stopSignal: run.StopSignal ?? '',
    facts: Object.fromEntries(
      Object.entries(facts).filter(
        (one): one is [string, string] => typeof one[1] === 'string' && one[1] !== '',
      ),
    ),
  }
  const texts = [
    read.user,
    read.workingDir,
    ...read.env,
    ...read.entrypoint,
    ...read.command,
    ...read.volumes,
  ]
  if (texts.some((text) => text.includes('\0'))) {
    throw new UsageError(`${where}: a text in it contains a NUL character`)
  }
  return read
}
