import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

/** A further build of this project, to compare with. */
export interface OtherBuild {
  readonly name: string
  /** Its `bin/atomfs-fuse`. */
  readonly program: string
}

export interface BenchOptions {
  /** Names of scenarios or rows; all where empty. */
  readonly rows: readonly string[]
  /** Names of readers; all where empty. */
  readonly readers: readonly string[]
  readonly inputs: readonly string[]
  readonly rounds: number
  readonly quick: boolean
  readonly million: boolean
  /** Main rows a second time, while other processes use all processors. */
  readonly busy: boolean
  readonly keep: boolean
  readonly list: boolean
  /** Where the inputs are kept from run to run. */
  readonly directory: string
  /** Where the JSON file goes; the page lies beside it. */
  readonly json: string
  readonly compare: readonly OtherBuild[]
  /** Another squashfuse_ll than the one in PATH. */
  readonly squashfuseLl: string
  /** 1 for the documented sizes; less makes smaller inputs, to try the harness itself. */
  readonly scale: number
}

export const USAGE = `usage: npm run bench -- [options]            measure mounts (needs root, see bench/README.md)
       npm run bench -- micro [WORD...]       time the hot parts of the code, those whose name holds a word
  --rows A,B          only these scenarios or rows      --readers A,B  only these readers
  --inputs A,B        only these images; density: what many mounts of one image cost
                                                        --list         show what there is, and stop
  --rounds N          rounds (default 5)                --quick        2 rounds, main rows only
  --million           also images of up to a million files
  --busy              also the main rows while other processes use all processors
  --compare NAME=BIN  also measure another build, given by its bin/atomfs-fuse (repeatable)
  --squashfuse-ll BIN another squashfuse_ll
  --json FILE         results (default bench/results/DATE.json, and .html beside it)
  --dir DIR           cache of the inputs (default $ATOMFS_BENCH_DIR or TMPDIR/atomfs-bench)
  --scale X           smaller inputs, for work on the benchmark itself
  --keep              keep the working directory of the run`

/** @throws Error with one line on a wrong option */
export function parseOptions(args: readonly string[], now: Date): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rows: { type: 'string', multiple: true },
      readers: { type: 'string', multiple: true },
      inputs: { type: 'string', multiple: true },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      million: { type: 'boolean', default: false },
      busy: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      dir: { type: 'string' },
      json: { type: 'string' },
      compare: { type: 'string', multiple: true },
      'squashfuse-ll': { type: 'string' },
      scale: { type: 'string' },
    },
  })
  const scale = number('scale', values.scale ?? '1', 0.01, 1)
  const directory = resolve(
    values.dir ?? process.env['ATOMFS_BENCH_DIR'] ?? join(tmpdir(), 'atomfs-bench'),
    scale === 1 ? 'full' : `scale-${scale}`,
  )
  const stamp = now.toISOString().slice(0, 19).replaceAll(':', '-')
  return {
    rows: words(values.rows),
    readers: words(values.readers),
    inputs: words(values.inputs),
    rounds: number('rounds', values.rounds ?? (values.quick ? '2' : '5'), 1, 100),
    quick: values.quick,
    million: values.million,
    busy: values.busy,
    keep: values.keep,
    list: values.list,
    directory,
    json: resolve(values.json ?? join('bench', 'results', `${stamp}.json`)),
    compare: (values.compare ?? []).map(otherBuild),
    squashfuseLl: values['squashfuse-ll'] ?? 'squashfuse_ll',
    scale,
  }
}

function words(values: readonly string[] | undefined): string[] {
  return (values ?? []).flatMap((value) => value.split(',')).filter((word) => word !== '')
}

function number(name: string, text: string, least: number, most: number): number {
  const value = Number(text)
  if (!(value >= least && value <= most)) throw new Error(`--${name} ${text}: expected ${least} to ${most}`)
  return value
}

function otherBuild(text: string): OtherBuild {
  const [name = '', program = ''] = text.split(/=(.*)/s)
  if (name === '' || program === '') throw new Error(`--compare ${text}: expected NAME=PROGRAM`)
  return { name, program: resolve(program) }
}
