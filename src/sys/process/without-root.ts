import { readdirSync } from 'node:fs'
import { systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'
import { descriptorsAreHeldHere } from '../plain/proc.ts'
import { leaveCommonPlaces } from './session.ts'

const chroot = libcFunction('int chroot(const char *path)')

/** /proc/PID: the working directory lies in it, and neither `/proc` nor `/sys` nor `/etc` is there. */
const OWN_FOLDER = '..'

/** Threads whose root directory has never been that of this thread alone. */
let others: readonly string[] | undefined

/**
 * Runs `action` while no absolute path leads anywhere for this thread, nor for threads that it starts in `action`. The
 * start of a thread makes Node look into /proc and /sys, and after pivot_root(2) these paths may lead into the mount that
 * this process serves. All other threads keep their root directory. Without the right to call chroot(2) it just runs
 * `action`.
 */
export function withoutRoot<T>(action: () => T): T {
  if (!descriptorsAreHeldHere() || !leaveRoot()) return action()
  try {
    return action()
  } finally {
    returnToRoot()
  }
}

function leaveRoot(): boolean {
  others ??= readdirSync('../task').filter((thread) => Number(thread) !== process.pid)
  // Each time: threads that were started since have the root directory of this one, and may still load their code.
  if (!leaveCommonPlaces()) return false
  return others.length > 0 && Number(chroot(OWN_FOLDER)) === 0
}

/** To the root directory that the other threads have at this moment: pivot_root(2) may just have moved it. */
function returnToRoot(): void {
  for (const thread of others ?? []) if (Number(chroot(`../task/${thread}/root`)) === 0) return
  throw systemError('chroot back to the root directory')
}
