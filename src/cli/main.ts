import '../sys/plain/own-packages.ts'
import { basename } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { commandLine } from './command-line.ts'
import { startEarly } from './early-daemon.ts'
import { FUSE_OVERLAYFS } from './personality.ts'
import { withVerb } from './verb.ts'

/** Longest wait for a daemon without a request. */
const END_TIMEOUT_MS = 2000

// The name it was called by: lxc-oci calls the program `atomfs`, and container engines `fuse-overlayfs`, which has
// no commands.
const called = basename(process.argv[1] ?? '')
const name = called === 'atomfs' || called === FUSE_OVERLAYFS ? called : 'atomfs-fuse'
const words = commandLine()
const args = called === FUSE_OVERLAYFS ? ['overlay', ...words] : withVerb(words)
const early = startEarly(args)
const { run } = await import('./program.ts')
const exitCode = await run(args, name, early)
if (exitCode !== 0) {
  // A daemon that got no request, or failed, is gone before we are.
  early?.channel.destroy()
  if (early !== undefined) await Promise.race([early.exit, sleep(END_TIMEOUT_MS)])
}

// Exits at once instead of waiting for handles: the parent of a daemon has nothing left to do.
process.exit(exitCode)
