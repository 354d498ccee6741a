import { copyFileSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { findProgram } from '../programs/tools.ts'

/** Puts a shell and other programs into `bin` of a tree, so that it can be a root directory. Needs a static busybox. */
export function addBusybox(tree: string, ...programs: readonly string[]): void {
  const busybox = findProgram('busybox')
  if (busybox === undefined) throw new Error('no busybox')
  const bin = join(tree, 'bin')
  mkdirSync(bin, { recursive: true })
  copyFileSync(busybox, join(bin, 'busybox'))
  for (const name of ['sh', ...programs]) symlinkSync('busybox', join(bin, name))
}
