import { execFileSync } from 'node:child_process'
import { libcFunction } from '../../../src/sys/ffi/libc.ts'

const CLONE_NEWNS = 0x20000

const unshare = libcFunction('int unshare(int flags)')
let isDone = false

/**
 * Gives this process a mount namespace of its own, for tests that mount by themselves: nobody else gets a copy of their
 * mounts, so an unmount ends a file system at once. Children inherit it. Once per process; needs root.
 */
export function ownMounts(): void {
  if (isDone) return
  if (unshare(CLONE_NEWNS) !== 0) throw new Error('unshare(CLONE_NEWNS) failed')
  execFileSync('mount', ['--make-rprivate', '/'], { timeout: 20_000 })
  isDone = true
}
