import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import type { Inputs, Subject } from '../inputs/index.ts'
import { COMMAND_TIMEOUT, timedCommand } from '../measure/index.ts'
import { OURS_SQUASHFS } from '../readers/index.ts'
import type { Making, Scenario } from './scenario.ts'
import { measureFind, measureNothing, measureTar, TAR_ROWS } from './whole-tree.ts'

/** An image of one layer, an archive compressed with gzip. */
export const TAR_LAYERS = 'tar layers'

const MIB = 2 ** 20
/** Of an index: a part of the blob, and bytes for each name beside the name. */
const INDEX_LIMIT = { part: 0.05, name: 64 }

export function tarLayers(): Scenario[] {
  const common = { input: TAR_LAYERS, main: false, subject: (inputs: Inputs) => inputs.tarLayers() }
  const mounted = { ...common, readers: ['ours', OURS_SQUASHFS] }
  return [
    {
      ...common,
      name: 'first-mount',
      rows: [
        'first-mount',
        'first-mount-cpu',
        'first-mount-rss',
        'first-mount-disk',
        'index-size',
        'index-limit',
      ],
      readers: ['ours', 'gunzip', 'umoci', 'podman'],
      make: measureFirstMount,
      measure: () => Promise.reject(new Error('this is measured otherwise')),
    },
    // Often: the first of all makes the index.
    { ...mounted, name: 'mount', rows: ['mount'], measure: measureNothing, repeat: 3, prepare: readImages },
    { ...mounted, name: 'find', rows: ['find-cold', 'find-warm'], measure: measureFind },
    { ...mounted, name: 'tar', rows: TAR_ROWS, measure: measureTar },
  ]
}

/** The blob is in the page cache, and what earlier rounds wrote is on the disk. */
async function measureFirstMount({ maker, subject, directory, record }: Making): Promise<void> {
  const { tar } = subject
  if (tar === undefined || maker.first === undefined)
    throw new Error('no layer to be read for the first time')
  readFileSync(tar.blob)
  await run('sync', [], { timeout: COMMAND_TIMEOUT })
  mkdirSync(join(directory, 'target'))
  const { command, made, end } = maker.first(subject, directory)
  try {
    const { seconds, cpuSeconds, peakBytes } = await timedCommand(command)
    record('first-mount', seconds, 's')
    record('first-mount-cpu', cpuSeconds, 's')
    record('first-mount-rss', peakBytes / MIB, 'MiB')
    if (made === undefined) return
    const { stdout } = await run('du', ['-s', '--block-size=1', made], { timeout: COMMAND_TIMEOUT })
    record('first-mount-disk', Number.parseInt(stdout, 10) / MIB, 'MiB')
  } finally {
    if (end !== undefined) await run(end[0] ?? '', end.slice(1), { timeout: 60_000 })
  }
  if (maker.name !== 'ours') return
  record('index-size', sizeOfFiles(join(directory, 'store')) / MIB, 'MiB')
  const most = statSync(tar.blob).size * INDEX_LIMIT.part + tar.names * INDEX_LIMIT.name + tar.nameBytes
  record('index-limit', most / MIB, 'MiB')
}

function sizeOfFiles(folder: string): number {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0)
}

/** Other scenarios have dropped the page cache. */
function readImages({ unverified, squashfs = '', store }: Subject): void {
  const folders = [unverified, squashfs].map((source) => join(source.replace(/:[^:]*$/, ''), 'blobs/sha256'))
  for (const folder of [...folders, store ?? '']) {
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (statSync(join(folder, name)).isFile()) readFileSync(join(folder, name))
    }
  }
}
