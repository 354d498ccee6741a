import { type Log, messageOf } from '../../base/index.ts'
import { systemError } from '../ffi/ffi.ts'
import { libcFunction } from '../ffi/libc.ts'

/** Capabilities by their bit (include/uapi/linux/capability.h). */
export const CAPABILITY = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  FOWNER: 3,
  FSETID: 4,
  LINUX_IMMUTABLE: 9,
  SYS_CHROOT: 18,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
  MKNOD: 27,
  SETFCAP: 31,
} as const
export type Capability = keyof typeof CAPABILITY

const VERSION_3 = 0x20080522
const PR_SET_NO_NEW_PRIVS = 38

const capget = libcFunction('int capget(uint8_t *header, uint8_t *data)')
const capset = libcFunction('int capset(uint8_t *header, const uint8_t *data)')
const prctl = libcFunction(
  'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
)

/**
 * Gives up all capabilities of the calling thread except `keep`, for good: threads and processes that it starts cannot
 * have them either. Linux keeps capabilities per thread, so every thread makes this call.
 * @throws FsError
 */
export function keepCapabilities(keep: readonly Capability[]): void {
  // struct __user_cap_header_struct: version, pid (0: this thread). Data: two of effective, permitted, inheritable.
  const header = Buffer.alloc(8)
  header.writeUInt32LE(VERSION_3, 0)
  const data = Buffer.alloc(24)
  if (Number(capget(header, data)) !== 0) throw systemError('capget')
  let mask = 0
  for (const name of new Set(keep)) mask += 2 ** CAPABILITY[name]
  for (const at of [0, 12]) {
    const kept = at === 0 ? mask : 0
    for (const set of [0, 4]) {
      data.writeUInt32LE((data.readUInt32LE(at + set) & kept) >>> 0, at + set)
    }
    data.writeUInt32LE(0, at + 8)
  }
  if (Number(capset(header, data)) !== 0) throw systemError('capset')
}

/** From then on no program that this thread runs gets rights from its setuid bit or file capabilities. */
export function forbidNewPrivileges(): void {
  if (Number(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) !== 0) throw systemError('prctl')
}

/** Runs `action` and only logs its failure: keeping too many rights is no reason to refuse a mount. */
export function givingUp(action: () => void, log: Log): void {
  try {
    action()
  } catch (error) {
    log('debug', `keeps its privileges: ${messageOf(error)}`)
  }
}
