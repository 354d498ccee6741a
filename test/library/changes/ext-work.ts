import { spawn } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { mke2fs, withKernelExt } from '../images/ext.ts'
import { bundleProgram } from '../trees/walk-child.ts'

/** How a file system is made, and mounted for the work. */
export interface ExtForm {
  /** Of mke2fs. */
  readonly options: string
  /** Of mount(8). */
  readonly mount: string
}

export interface CrashOptions {
  readonly copies: number
  readonly megabytes?: number
}

let program: Promise<string> | undefined

/**
 * Works in a new file system, and copies its file as often as asked for, each time after a sync and some more changes: what
 * a crash would leave.
 * @returns paths of the copies
 */
export async function crashedCopies(
  folder: string,
  { options, mount }: ExtForm,
  seed: number,
  { copies: count, megabytes = 24 }: CrashOptions,
): Promise<string[]> {
  program ??= bundleProgram(fileURLToPath(new URL('ext-work-main.ts', import.meta.url)))
  const main = await program
  const image = await mke2fs(join(folder, 'image'), { options, megabytes })
  const work = async (target: string): Promise<string[]> => {
    const child = spawn(process.execPath, [main, target, String(seed)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    try {
      const copies: string[] = []
      for (let i = 0; i < count; i++) {
        child.stdin.write('go\ngo\n')
        for (let batch = 0; batch < 2; batch++) {
          const answer = await Promise.race([answers.next(), timeOut(60_000)])
          if (answer.done === true) throw new Error('the work has failed')
        }
        const copy = join(folder, `copy-${i}`)
        copyFileSync(image, copy)
        copies.push(copy)
      }
      return copies
    } finally {
      child.kill('SIGKILL')
    }
  }
  return withKernelExt(folder, image, work, mount)
}

function timeOut(ms: number): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`no end of the work after ${ms} ms`)), ms).unref()
  })
}
