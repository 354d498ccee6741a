import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import type { MakeSettings } from '../readers/index.ts'
import type { Making, Scenario } from './scenario.ts'

export const MAKING_ROWS = ['make', 'make-cpu', 'make-size', 'make-rss']

const MIB = 2 ** 20
const TIMEOUT = 1_200_000
const SAMPLE_MS = 20
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
  await run('bash', ['-c', 'tar -C "$1" -cf - . | cat >/dev/null', 'bench', tree], { timeout: TIMEOUT })
  const image = join(directory, 'image.squashfs')
  const { seconds, cpuSeconds, peakBytes } = await timed(maker.make(tree, image, settings))
  await run('unsquashfs', ['-s', image], { timeout: TIMEOUT })
  record('make', seconds, 's')
  record('make-cpu', cpuSeconds, 's')
  record('make-size', statSync(image).size / MIB, 'MiB')
  record('make-rss', peakBytes / MIB, 'MiB')
}

/** Time from start to end, processor time of a command and all that it starts, and the sum of their largest memory. */
async function timed(
  command: readonly string[],
): Promise<{ readonly seconds: number; readonly cpuSeconds: number; readonly peakBytes: number }> {
  const script = 'TIMEFORMAT="%R %U %S"; time "$@" >/dev/null'
  const child = spawn('bash', ['-c', script, 'bench', ...command], { stdio: ['ignore', 'ignore', 'pipe'] })
  const peaks = new Map<number, number>()
  const timer = setInterval(() => notePeaks(child.pid ?? 0, peaks), SAMPLE_MS)
  const limit = setTimeout(() => child.kill(), TIMEOUT)
  let text = ''
  child.stderr.setEncoding('utf8').on('data', (part: string) => {
    text += part
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  clearInterval(timer)
  clearTimeout(limit)
  const [, real = '', user = '', system = ''] = /([\d.]+) ([\d.]+) ([\d.]+)\n$/.exec(text) ?? []
  if (code !== 0 || real === '') throw new Error(`${command.join(' ')}: exit code ${code}: ${text}`)
  const peakBytes = [...peaks.values()].reduce((sum, bytes) => sum + bytes, 0)
  return { seconds: Number(real), cpuSeconds: Number(user) + Number(system), peakBytes }
}

/** VmHWM only grows, so the last sample before the end of a process is nearly all. */
function notePeaks(pid: number, peaks: Map<number, number>): void {
  for (const child of childrenOf(pid)) {
    const peak = /^VmHWM:\s+(\d+) kB$/m.exec(textOf(`/proc/${child}/status`))?.[1]
    if (peak !== undefined) peaks.set(child, Number(peak) * 1024)
    notePeaks(child, peaks)
  }
}

function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      textOf(`/proc/${pid}/task/${task}/children`).split(' ').filter(Boolean).map(Number),
    )
  } catch {
    return []
  }
}

/** Empty for a process that has ended. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}
