import { statSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import { COMMAND_TIMEOUT, timedCommand } from '../measure/index.ts'
import type { MakeSettings } from '../readers/index.ts'
import type { Making, Scenario } from './scenario.ts'

export const MAKING_ROWS = ['make', 'make-cpu', 'make-size', 'make-rss']

const MIB = 2 ** 20
/** The defaults of mksquashfs, so that the sizes can be compared. */
const SETTINGS: readonly MakeSettings[] = [
  { compressor: 'gzip', level: 9, blockSize: 128 << 10 },
  { compressor: 'zstd', level: 15, blockSize: 128 << 10 },
]

/** The same tree by each program that makes images. */
export function making(): Scenario[] {
  return SETTINGS.map((settings) => ({
    name: 'making',
    input: `making ${settings.compressor}`,
    rows: MAKING_ROWS,
    readers: ['ours', 'mksquashfs', 'tar2sqfs'],
    fewerRounds: { tar2sqfs: 2 },
    main: false,
    subject: (inputs) => inputs.image('tree', settings.compressor),
    make: (one) => makeImage(one, settings),
    measure: () => Promise.reject(new Error('nothing is mounted here')),
  }))
}

/** Files in the page cache: the disk is the same for all. */
async function makeImage(
  { maker, subject, directory, record }: Making,
  settings: MakeSettings,
): Promise<void> {
  const { tree } = subject
  if (tree === undefined || maker.make === undefined) throw new Error('no tree to make an image of')
  await run('bash', ['-c', 'tar -C "$1" -cf - . | cat >/dev/null', 'bench', tree], {
    timeout: COMMAND_TIMEOUT,
  })
  const image = join(directory, 'image.squashfs')
  const { seconds, cpuSeconds, peakBytes } = await timedCommand(maker.make(tree, image, settings))
  await run('unsquashfs', ['-s', image], { timeout: COMMAND_TIMEOUT })
  record('make', seconds, 's')
  record('make-cpu', cpuSeconds, 's')
  record('make-size', statSync(image).size / MIB, 'MiB')
  record('make-rss', peakBytes / MIB, 'MiB')
}
