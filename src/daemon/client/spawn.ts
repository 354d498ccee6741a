import { type ChildProcess, spawn } from 'node:child_process'
import { fstatSync } from 'node:fs'
import { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { descriptorOf } from '../../sys/plain/proc.ts'
import { entryUrl } from '../../threads.ts'
import { daemonEnvironment } from '../life/environment.ts'

/** Number of the first descriptor that is handed on: after stdio and the channel. */
const FIRST_HANDED_FD = 4

/**
 * One helper thread for V8 instead of four: it compiles and collects garbage beside four threads of this program, and each
 * further thread costs memory (documented in node(1)).
 */
const ENGINE_OPTIONS = ['--v8-pool-size=1']

/** A daemon process that waits for its request. */
export interface DaemonProcess {
  readonly child: ChildProcess
  readonly channel: Duplex
  /** Resolves with how the process ended, in words. */
  readonly exit: Promise<string>
  /** Paths of descriptors of this process, and the paths that the daemon has for them. */
  readonly handed: ReadonlyMap<string, string>
}

/**
 * Starts the daemon process, with none of our descriptors except those that `paths` name.
 * It can be started before the request is known: its own start takes longer than reading a command line.
 * @param paths words that may name a descriptor of this process; those that are not open are left out
 */
export function spawnDaemon(paths: readonly string[]): DaemonProcess {
  const descriptors: number[] = []
  const handed = new Map<string, string>()
  for (const path of new Set(paths)) {
    const descriptor = descriptorOf(path)
    if (descriptor === undefined || !isOpen(descriptor)) continue
    handed.set(path, `${path.slice(0, path.lastIndexOf('/'))}/${FIRST_HANDED_FD + descriptors.length}`)
    descriptors.push(descriptor)
  }
  const child = spawn(process.execPath, [...ENGINE_OPTIONS, fileURLToPath(entryUrl('daemon'))], {
    env: daemonEnvironment(),
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', ...descriptors],
    // autofs lets only its own process group look at the target, so the daemon stays in the caller's group until it has
    // mounted; then it leaves by setsid(2).
    detached: false,
  })
  const exit = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`cannot start it: ${error.message}`))
    child.once('exit', (code, signal) =>
      resolve(signal === null ? `exit code ${code}` : `killed by ${signal}`),
    )
  })
  // Without descriptors left, Node 24 gives a child without stdio, and tells why by its 'error' event.
  const stdio: readonly unknown[] | undefined = child.stdio
  const channel = (stdio?.[3] ?? silentChannel()) as Duplex
  channel.on('error', () => undefined)
  return { child, channel, exit, handed }
}

/** Takes everything and answers nothing. */
function silentChannel(): Duplex {
  return new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() })
}

function isOpen(descriptor: number): boolean {
  try {
    fstatSync(descriptor)
    return true
  } catch {
    return false
  }
}
