import { spawn } from 'node:child_process'
import { fstatSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { FsError } from '../base/index.ts'
import { withTimeout } from '../sys/process.ts'
import type { DaemonAnswer } from './background.ts'
import { descriptorOf, type MountRequest } from './request.ts'

/** Number of the first descriptor that is handed on: after stdio and the channel. */
const FIRST_HANDED_FD = 4

/** The root of the mount answers within this time, or the mount is undone. */
const ROOT_TIMEOUT_MS = 10_000
const END_TIMEOUT_MS = 5000

/**
 * Starts the daemon for a request and waits until the mount serves. The daemon has a session of its own and
 * none of our descriptors, except those that source and target name.
 * @param script file of the daemon
 * @returns warnings for the user, one line each
 * @throws FsError why there is no mount; then no process, mount or runtime entry is left
 */
export async function startDaemon(request: MountRequest, script: string): Promise<readonly string[]> {
  const handed: number[] = []
  const daemonRequest: MountRequest = {
    ...request,
    source: handOn(request.source, handed),
    target: handOn(request.target, handed),
  }
  const child = spawn(process.execPath, [script], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', ...handed],
  })
  const exit = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`cannot start it: ${error.message}`))
    child.once('exit', (code, signal) =>
      resolve(signal === null ? `exit code ${code}` : `killed by ${signal}`),
    )
  })
  const channel = child.stdio[3] as Duplex
  const answered = readAnswer(channel)
  channel.on('error', () => undefined)
  channel.write(`${JSON.stringify(daemonRequest)}\n`)
  const died = exit.then(async (how): Promise<DaemonAnswer> => {
    // The answer may still lie in the channel when the process has ended.
    const late = await Promise.race([answered, sleep(200, undefined)])
    return late ?? { error: lost(how) }
  })
  const answer = await Promise.race([answered, died])
  channel.destroy()
  if (!('ready' in answer)) {
    await Promise.race([exit, sleep(END_TIMEOUT_MS, undefined, { ref: false })])
    throw new FsError('EIO', answer.error)
  }
  try {
    if (descriptorOf(request.target) === undefined) {
      await withTimeout(stat(request.target), ROOT_TIMEOUT_MS, `the root of ${request.target} did not answer`)
    }
  } catch (error) {
    child.kill('SIGTERM')
    await Promise.race([exit, sleep(END_TIMEOUT_MS, undefined, { ref: false })])
    child.kill('SIGKILL')
    const reason = error instanceof Error ? error.message : String(error)
    throw new FsError('EIO', `mounted, but the root directory cannot be read, so it was unmounted: ${reason}`)
  }
  child.unref()
  return answer.warnings
}

function lost(how: string): string {
  return `the background process ended before the mount was ready (${how}); --foreground --debug shows more`
}

/**
 * A path of a descriptor as the daemon will see it; the descriptor joins the ones it is given.
 * @throws FsError EBADF where it is not open
 */
function handOn(path: string, handed: number[]): string {
  const descriptor = descriptorOf(path)
  if (descriptor === undefined) return path
  try {
    fstatSync(descriptor)
  } catch (error) {
    throw new FsError('EBADF', `${path}: descriptor ${descriptor} is not open`, { cause: error })
  }
  handed.push(descriptor)
  const folder = path.slice(0, path.lastIndexOf('/'))
  return `${folder}/${FIRST_HANDED_FD + handed.length - 1}`
}

/** Resolves with the daemon's line; never where the channel closes without one. */
function readAnswer(channel: Duplex): Promise<DaemonAnswer> {
  return new Promise((resolve) => {
    let text = ''
    channel.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8')
      if (text.endsWith('\n')) resolve(JSON.parse(text) as DaemonAnswer)
    })
  })
}
