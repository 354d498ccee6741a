import { setTimeout as sleep } from 'node:timers/promises'
import type { DaemonProcess } from '../../daemon/client/spawn.ts'
import type { Called } from '../program/called.ts'
import { startEarly } from '../program/early-daemon.ts'

/** Longest wait for a daemon without a request. */
const END_TIMEOUT_MS = 2000

/** Runs a command line of ours. @returns the exit code */
export async function runCommand(args: readonly string[], called: Called): Promise<number> {
  const early = startEarly(args)
  const { run } = await import('../program/program.ts')
  return await endedWith(early, await run(args, called, early))
}

/** A daemon that got no request, or failed, is gone before we are. @returns the exit code */
export async function endedWith(early: DaemonProcess | undefined, exitCode: number): Promise<number> {
  if (exitCode !== 0 && early !== undefined) {
    early.channel.destroy()
    await Promise.race([early.exit, sleep(END_TIMEOUT_MS)])
  }
  return exitCode
}
