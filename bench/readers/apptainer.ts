import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import { MOUNT_TIMEOUT, type Reader } from './reader.ts'
import { missingProgram } from './squashfuse.ts'
import { endProcesses, processesWithArgument, unmountTarget } from './teardown.ts'

/** What Apptainer does without root for a SIF with an overlay: three programs, each over the others. */
export function apptainerReader(squashfuseLl: string): Reader {
  return {
    name: 'apptainer-stack',
    missing: () =>
      missingProgram(squashfuseLl) ?? missingProgram('fuse2fs') ?? missingProgram('fuse-overlayfs'),
    accepts: ({ sif }, writable) => sif?.ext3 !== undefined && !writable,
    mount: async ({ unverified: file, sif }, target, work) => {
      const [low, high] = ['rootfs', 'overlay'].map((name) => join(work, name)) as [string, string]
      const mounts: string[] = []
      const pids: number[] = []
      const start = async (program: string, options: string, words: readonly string[], at: string) => {
        await run(program, ['-o', options, ...words, at], { timeout: MOUNT_TIMEOUT })
        mounts.push(at)
        pids.push(...processesWithArgument(at))
      }
      const unmount = async (): Promise<void> => {
        for (const one of mounts.toReversed()) await unmountTarget(one)
        await endProcesses(pids)
      }
      try {
        for (const place of [low, high]) mkdirSync(place)
        await start(squashfuseLl, `ro,offset=${sif?.squashfs}`, [file], low)
        await start('fuse2fs', `ro,offset=${sif?.ext3}`, [file], high)
        await start('fuse-overlayfs', `lowerdir=${high}/upper:${low}`, [], target)
        return { pids, unmount }
      } catch (error) {
        await unmount()
        throw error
      }
    },
  }
}
