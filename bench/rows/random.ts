import { run } from '../../test/library/programs/process.ts'
import { ACTION_TIMEOUT, dropCaches, type Session } from '../measure/index.ts'

/** Block size for fio, and how many reads: 8 and 32 MB of the 100 MB file. */
const KINDS = [
  { row: 'random-4k', size: '4k', reads: 2000 },
  { row: 'random-64k', size: '64k', reads: 500 },
] as const

/** Reads at random places of the large file, cold, each place once; microseconds for one read. */
export async function measureRandom({ target, subject, record }: Session): Promise<void> {
  const { bigFile } = subject.facts
  if (bigFile === undefined) throw new Error('this tree has no large file')
  for (const { row, size, reads } of KINDS) {
    await dropCaches()
    const { stdout } = await run(
      'fio',
      [
        '--name=random',
        `--filename=${target}/${bigFile.name}`,
        `--size=${bigFile.bytes}`,
        '--rw=randread',
        `--bs=${size}`,
        `--number_ios=${reads}`,
        '--randseed=7',
        '--ioengine=psync',
        '--thread',
        '--readonly',
        '--allow_file_create=0',
        '--output-format=json',
      ],
      { timeout: ACTION_TIMEOUT },
    )
    record(row, meanLatency(stdout), 'us')
  }
}

/** Mean time of a read in microseconds. */
function meanLatency(output: string): number {
  const report = JSON.parse(output.slice(output.indexOf('{'))) as {
    jobs: { error: number; read: { lat_ns: { mean: number } } }[]
  }
  const [job] = report.jobs
  if (job === undefined || job.error !== 0) throw new Error(`fio failed: error ${job?.error}`)
  return job.read.lat_ns.mean / 1000
}
