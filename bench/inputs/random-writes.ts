import { rmSync } from 'node:fs'
import { run } from '../../test/library/programs/process.ts'
import type { RandomWrites } from './facts.ts'

const TIMEOUT = 180_000

/** The part of fio's report that is read: times in nanoseconds. */
interface FioReport {
  readonly jobs: readonly {
    readonly error: number
    readonly write: { readonly total_ios: number; readonly lat_ns: { readonly mean: number } }
    readonly sync?: { readonly total_ios: number; readonly lat_ns: { readonly mean: number } }
  }[]
}

/**
 * Overwrites blocks of 4 KiB of a file that is there, always the same ones with the same bytes: the file is the same
 * wherever it lies. fio does it, in one thread with pwrite(2).
 * @returns microseconds for one write, its share of the fsync(2) included
 */
export async function writeRandomly(path: string, plan: Omit<RandomWrites, 'sha256'>): Promise<number> {
  const { stdout } = await run(
    'fio',
    [
      '--name=random',
      `--filename=${path}`,
      `--size=${plan.fileBytes}`,
      '--rw=randwrite',
      '--bs=4k',
      `--number_ios=${plan.writes}`,
      `--fsync=${plan.fsyncAfter}`,
      '--randseed=7',
      '--buffer_pattern=0x5aa5f00d',
      // Otherwise the time of the write goes into its bytes.
      '--scramble_buffers=0',
      '--ioengine=psync',
      '--thread',
      // The pages stay where they are.
      '--invalidate=0',
      '--allow_file_create=0',
      '--output-format=json',
    ],
    { timeout: TIMEOUT },
  )
  const [job] = (JSON.parse(stdout.slice(stdout.indexOf('{'))) as FioReport).jobs
  if (job === undefined || job.error !== 0) throw new Error(`fio failed: error ${job?.error}`)
  const { write, sync } = job
  if (write.total_ios !== plan.writes)
    throw new Error(`fio wrote ${write.total_ios} of ${plan.writes} blocks`)
  const syncTime = sync === undefined ? 0 : sync.total_ios * sync.lat_ns.mean
  return (write.lat_ns.mean + syncTime / plan.writes) / 1000
}

/** Digest of the file after these writes, made on a plain file at `path`, which is removed again. */
export async function digestAfterWrites(path: string, plan: Omit<RandomWrites, 'sha256'>): Promise<string> {
  await run('truncate', ['-s', `${plan.fileBytes}`, path])
  try {
    await writeRandomly(path, plan)
    const { stdout } = await run('sha256sum', [path], { timeout: TIMEOUT })
    return stdout.split(' ')[0] ?? ''
  } finally {
    rmSync(path, { force: true })
  }
}
