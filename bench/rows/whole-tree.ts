import { setTimeout } from 'node:timers/promises'
import {
  cpuSecondsOf,
  dropCaches,
  expectAnswer,
  machineCpuSeconds,
  type Session,
  timedScript,
  usageOf,
} from '../measure/index.ts'

export const TAR_ROWS = [
  'tar-cold',
  'tar-warm',
  'tar-cold-daemon-cpu',
  'tar-cold-machine-cpu',
  'rss-peak',
  'pss',
]

const MIB = 2 ** 20

/**
 * What a mount does on the side after it is ready is over by then, ms. The rows of the start (`mount`, `python-cold`,
 * `node-cold`) hold that; these rows hold reading, and writing, alone.
 */
const SETTLED = 1000

export async function settleAndDropCaches(): Promise<void> {
  await setTimeout(SETTLED)
  await dropCaches()
}

/** Lists every name with its attributes, cold and again. */
export async function measureFind({ target, subject, record }: Session): Promise<void> {
  await settleAndDropCaches()
  for (const row of ['find-cold', 'find-warm']) {
    const { ms, output } = await timedScript(target, 'find . -ls | wc -l')
    expectAnswer('find', output, subject.facts.entries)
    record(row, ms, 'ms')
  }
}

/**
 * Reads everything, cold and again, and says what that took of processor and memory. tar(1) reads no content when it
 * writes to /dev/null, so there is a pipe.
 */
export async function measureTar({ target, subject, pids, record }: Session): Promise<void> {
  await settleAndDropCaches()
  const [daemon, machine] = [cpuSecondsOf(pids), machineCpuSeconds()]
  for (const row of ['tar-cold', 'tar-warm']) {
    const { ms, output } = await timedScript(target, 'tar cf - . | wc -c')
    expectAnswer('bytes of tar', output, subject.facts.tarBytes)
    record(row, ms, 'ms')
    if (row === 'tar-warm') break
    record('tar-cold-machine-cpu', machineCpuSeconds() - machine, 's')
    if (pids.length > 0) record('tar-cold-daemon-cpu', cpuSecondsOf(pids) - daemon, 's')
  }
  recordMemory(pids, record)
}

export function recordMemory(pids: readonly number[], record: Session['record']): void {
  if (pids.length === 0) return
  const { peakBytes, pssBytes } = usageOf(pids)
  record('rss-peak', peakBytes / MIB, 'MiB')
  record('pss', pssBytes / MIB, 'MiB')
}

/** One large file from its first to its last byte. */
export async function measureBigFile({ target, subject, record }: Session): Promise<void> {
  const { bigFile } = subject.facts
  if (bigFile === undefined) throw new Error('this tree has no large file')
  await settleAndDropCaches()
  const { ms, output } = await timedScript(target, 'cat "$1" | wc -c', [bigFile.name])
  expectAnswer('bytes of the file', output, bigFile.bytes)
  record('big-cold', ms, 'ms')
}

/** Four programs that read a quarter of the small files each, at the same time. */
export async function measureParallel({ target, subject, record }: Session): Promise<void> {
  const { readerLists, contentBytes, bigFile } = subject.facts
  await settleAndDropCaches()
  const script = 'for list; do xargs -0 cat <"$list" | wc -c & done; wait'
  const { ms, output } = await timedScript(target, script, readerLists)
  const sum = output.split('\n').reduce((total, line) => total + Number(line), 0)
  expectAnswer('bytes of all readers', `${sum}`, contentBytes - (bigFile?.bytes ?? 0))
  record('parallel-cold', ms, 'ms')
}

/** The mount itself was timed already. */
export async function measureNothing(): Promise<void> {}
