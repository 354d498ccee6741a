import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mountsBelow } from './mount-table.ts'

/** A tenth of a second each. */
const ATTEMPTS = 100

/** Runs `use` with a new directory and removes it afterwards, unless something is still mounted below it. */
export async function withTempDir<T>(use: (directory: string) => Promise<T> | T): Promise<T> {
  const directory = makeTempDir()
  try {
    return await use(directory)
  } finally {
    removeTempDir(directory)
  }
}

/** For `beforeAll`; pair it with `removeTempDir`. */
export function makeTempDir(): string {
  return mkdtempSync(join(tmpdir(), 'atomfs-test-'))
}

export function removeTempDir(directory: string): void {
  const mounts = mountsBelow(directory)
  // To delete through a writable mount would hide the bug that left it behind.
  if (mounts.length > 0) throw new Error(`still mounted: ${mounts.join(', ')}`)
  // A daemon may still be clearing its runtime data there: umount(8) does not wait for its end.
  for (let attempt = 1; ; attempt++) {
    try {
      rmSync(directory, { recursive: true, force: true })
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY' || attempt === ATTEMPTS) throw error
      execFileSync('sleep', ['0.1'])
    }
  }
}
