import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { constants as access, accessSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { isatty } from 'node:tty'
import { FsError, type PathText, systemPath } from '../../base/index.ts'
import { type BundleRequest, beginBundle } from '../bundle.ts'
import { RUNTIME_ROOT, undo } from '../removal.ts'
import type { SpecOptions } from '../spec/runtime-spec.ts'
import { findRuntime, type Place, type Runtime, removeWords, runWords } from './runtime.ts'
import { handSignalsOn } from './signals.ts'
import { chooseStreams, joinStreams } from './streams.ts'

/** A container that is run and removed. */
export interface RunRequest extends Omit<BundleRequest, 'directory'> {
  /** Name or path of the runtime; by default crun or runc. */
  readonly runtime?: string | undefined
  /** Gets warnings before the container starts. */
  readonly onWarnings?: (warnings: readonly string[]) => void
}

/** Signals that end what has no other use for them. */
const ENDING: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP']

/** As shells have it: the status of a program that a signal has ended. */
const SIGNALLED = 128

type Kill = (signal: NodeJS.Signals) => unknown

/**
 * Runs a container of a source with the standard streams, the terminal and the signals of this process, and removes
 * everything when it has ended.
 * @returns the status of its program; 128 and the number of the signal where one has ended it
 * @throws FsError as `createBundle`; ENOENT where there is no runtime
 */
export async function runContainer(request: RunRequest): Promise<number> {
  const { cpus, memory, terminal = isatty(0) && isatty(1) } = request.spec ?? {}
  const runtime = findRuntime(request.runtime, cpus !== undefined || memory !== undefined)
  const consoleSize = terminal ? terminalSize() : undefined
  const spec = { furtherGroups: runtime.givesGroups, consoleSize, ...request.spec, terminal }
  const id = `atomfs-run-${randomBytes(8).toString('hex')}`
  const directory = join(folderForBundles(), id)
  const stopping = new AbortController()
  let kill: Kill | undefined
  let early: NodeJS.Signals | undefined
  const endSignals = handSignalsOn(terminal, (signal) => {
    if (kill !== undefined) kill(signal)
    else if (ENDING.includes(signal)) {
      early ??= signal
      stopping.abort(new FsError('EINTR', `${signal} before the container was started`))
    }
  })
  try {
    const { bundle, claim } = await beginBundle({ ...request, directory, spec, signal: stopping.signal })
    const place = { root: join(bundle.path, RUNTIME_ROOT), bundle: bundle.path, id }
    const remains = { directory, remove: removeWords(runtime, place) }
    try {
      request.onWarnings?.(bundle.warnings)
      claim.note(remains)
      stopping.signal.throwIfAborted()
      return await start(runtime, place, (one) => {
        kill = one
      })
    } finally {
      // What is removed now is removed as a whole: signals end nothing any more.
      kill = () => undefined
      await undo(remains, request.metadataDir)
      claim.end()
    }
  } catch (error) {
    if (early === undefined) throw error
    return SIGNALLED + constants.signals[early]
  } finally {
    endSignals()
  }
}

function terminalSize(): SpecOptions['consoleSize'] {
  const { rows, columns } = process.stdout
  // A terminal that nobody has given a size has 0 of both.
  return rows > 0 && columns > 0 ? { height: rows, width: columns } : undefined
}

/** Bundles hold the changes of their containers, which may be large: /tmp is memory on many machines, /var/tmp is not. */
function folderForBundles(): PathText {
  const named = process.env['TMPDIR']
  if (named?.startsWith('/')) return named
  try {
    accessSync(systemPath('/var/tmp'), access.W_OK | access.X_OK)
    return '/var/tmp'
  } catch {
    return tmpdir()
  }
}

/**
 * @param onStart gets what sends signals to the container
 * @returns its status. @throws FsError where the runtime cannot be started
 */
async function start(runtime: Runtime, place: Place, onStart: (kill: Kill) => void): Promise<number> {
  const [program = '', ...args] = runWords(runtime, place)
  const child = spawn(program, args, { stdio: [...chooseStreams()] })
  onStart((signal) => child.kill(signal))
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(new FsError('ENOENT', `${program} cannot be started: ${error.code ?? error.message}`)),
    )
    child.once('exit', (code, signal) =>
      resolve(code ?? SIGNALLED + (signal === null ? 0 : constants.signals[signal])),
    )
  })
  const [status] = await Promise.all([ended, joinStreams(child)])
  return status
}
