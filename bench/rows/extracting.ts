import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import { COMMAND_TIMEOUT, expectAnswer, timedCommand } from '../measure/index.ts'
import type { Making, Scenario } from './scenario.ts'

export const EXTRACTING_ROWS = ['extract', 'extract-cpu', 'extract-rss']

const MIB = 2 ** 20

/** The same image, extracted by each program that does it. */
export function extracting(): Scenario[] {
  return (['gzip', 'zstd'] as const).map((compressor) => ({
    name: 'extracting',
    input: `extracting ${compressor}`,
    rows: EXTRACTING_ROWS,
    readers: ['ours', 'unsquashfs'],
    main: false,
    subject: (inputs) => inputs.image('tree', compressor),
    make: extractImage,
    measure: () => Promise.reject(new Error('nothing is mounted here')),
  }))
}

/** The image is in the page cache, and what earlier rounds wrote is on the disk. */
async function extractImage({ maker, subject, directory, record }: Making): Promise<void> {
  const [image] = subject.images
  if (image === undefined || maker.extract === undefined) throw new Error('no image to extract')
  readFileSync(image)
  await run('sync', [], { timeout: COMMAND_TIMEOUT })
  const tree = join(directory, 'tree')
  const { seconds, cpuSeconds, peakBytes } = await timedCommand(maker.extract(image, tree))
  const { stdout } = await run('find', [tree, '-printf', 'x'], { timeout: COMMAND_TIMEOUT })
  expectAnswer('names of the tree', `${stdout.length}`, subject.facts.entries)
  record('extract', seconds, 's')
  record('extract-cpu', cpuSeconds, 's')
  record('extract-rss', peakBytes / MIB, 'MiB')
}
