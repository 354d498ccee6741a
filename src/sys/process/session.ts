import { systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'

const setsid = libcFunction('int setsid(void)')
const setpgid = libcFunction('int setpgid(int pid, int group)')
const umask = libcFunction('uint32_t umask(uint32_t mask)')
const unshare = libcFunction('int unshare(int flags)')
const cSignal = libcFunction('uintptr_t signal(int number, uintptr_t handler)')

/** Leaves the session and the process group of the parent. @throws FsError EPERM for a group leader */
export function startSession(): void {
  if (Number(setsid()) < 0) throw systemError('setsid')
}

/** Makes this process the leader of a process group of its own; nothing changes if it is one. @throws FsError EPERM for a session leader */
export function startProcessGroup(): void {
  if (Number(setpgid(0, 0)) < 0) throw systemError('setpgid')
}

/** Real-time signals for programs: glibc and musl keep those below for threads. */
const FIRST_REAL_TIME = 35
const LAST_REAL_TIME = 64
/** SIG_IGN (include/uapi/asm-generic/signal-defs.h). */
const IGNORE = 1

/** Node cannot listen to real-time signals, and each one would end the process. */
export function ignoreRealTimeSignals(): void {
  for (let number = FIRST_REAL_TIME; number <= LAST_REAL_TIME; number++) cSignal(number, IGNORE)
}

/** Clears the umask of the process, so that modes are exact. The daemon calls it once. */
export function setUmask0(): void {
  umask(0)
}

/** include/uapi/linux/sched.h: root directory, working directory and umask of this thread alone. */
const CLONE_FS = 0x200

/** These three become the calling thread's own, as they are. @returns false where the kernel refuses it */
export function leaveCommonPlaces(): boolean {
  return Number(unshare(CLONE_FS)) === 0
}

/**
 * Clears the umask of the calling thread for good. Others keep theirs, and may change it: this thread makes files whose
 * modes must be exact. Its working directory and its root directory stay the same.
 */
export function clearUmaskHere(): void {
  leaveCommonPlaces()
  umask(0)
}
