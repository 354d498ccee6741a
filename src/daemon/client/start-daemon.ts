import { access, constants, stat } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, FsError, messageOf, type PathText, systemPath } from '../../base/index.ts'
import { hasKeys } from '../../crypt/keys/keyring.ts'
import { secretBytes } from '../../crypt/keys/secret.ts'
import { isOverlay, type MountSource } from '../../molecule/source.ts'
import type { MountRequest } from '../../request/index.ts'
import { descriptorOf } from '../../sys/plain/proc.ts'
import { withTimeout } from '../../sys/plain/promises.ts'
import type { DaemonAnswer } from '../life/channel.ts'
import { limitHint } from '../life/failure.ts'
import { removeRemains } from '../life/remains.ts'
import { notifyManager, writeReadyFd } from '../mount/notify.ts'
import { ownerWarning } from './owner-warning.ts'
import { type DaemonProcess, spawnDaemon } from './spawn.ts'

/** The root of the mount answers within this time, or the mount is undone. */
const ROOT_TIMEOUT_MS = 10_000
const END_TIMEOUT_MS = 5000

/**
 * Starts the daemon for a request and waits until the mount serves.
 * @param early a process that was started for this request before it was known
 * @returns warnings for the user, one line each
 * @throws FsError why there is no mount, with the errno that the daemon met; then no process, mount or runtime entry is
 *   left
 */
export async function startDaemon(request: MountRequest, early?: DaemonProcess): Promise<readonly string[]> {
  const { source, indexes } = request
  // A process that was started before has no descriptors of indexes.
  if (indexes !== undefined) early?.child.kill()
  const present = indexes === undefined ? early : undefined
  const { child, channel, exit, handed } = present ?? spawnDaemon(descriptorPaths(request))
  const answered = readAnswer(channel)
  const daemonRequest: MountRequest = {
    ...request,
    source: isOverlay(source) ? source : { ...source, path: asHanded(source.path, handed) },
    target: asHanded(request.target, handed),
    ...(indexes && {
      indexes: Object.fromEntries(
        Object.entries(indexes).map(([name, path]) => [name, asHanded(path, handed)]),
      ),
    }),
  }
  await sendRequest(channel, daemonRequest, request.source)
  const died = exit.then(async (how): Promise<DaemonAnswer> => {
    // The answer may still lie in the channel when the process has ended.
    const late = await Promise.race([answered, sleep(200, undefined)])
    if (late !== undefined) return late
    await removeRemains(request)
    return { error: lost(how), code: 'EIO' }
  })
  const answer = await Promise.race([answered, died])
  channel.destroy()
  if (!('ready' in answer)) {
    await Promise.race([exit, sleep(END_TIMEOUT_MS, undefined, { ref: false })])
    throw new FsError(answer.code, answer.error)
  }
  const warnings = [...answer.warnings]
  try {
    if (descriptorOf(request.target) === undefined) {
      await withTimeout(
        stat(systemPath(request.target)),
        ROOT_TIMEOUT_MS,
        `the root of ${request.target} did not answer`,
      )
      warnings.push(...(await warnOfOwner(request)))
    }
  } catch (error) {
    child.kill('SIGTERM')
    await Promise.race([exit, sleep(END_TIMEOUT_MS, undefined, { ref: false })])
    child.kill('SIGKILL')
    await removeRemains(request)
    const reason = messageOf(error)
    throw new FsError('EIO', `mounted, but the root directory cannot be read, so it was unmounted: ${reason}`)
  }
  child.unref()
  const warn = (_: string, message: string): number => warnings.push(message)
  if (request.readyFd !== undefined) writeReadyFd(request.readyFd, warn)
  // The command sends this, not the daemon: a manager listens to the main process only, until MAINPID names another.
  await notifyManager(`READY=1\nMAINPID=${child.pid}`, warn)
  return warnings
}

/** The request, and behind it the keys of encrypted images, which are no part of it. */
async function sendRequest(channel: Duplex, request: MountRequest, source: MountSource): Promise<void> {
  // Without keys nothing of it is loaded.
  const keys = hasKeys() ? (await import('../../molecule/encryption/locked.ts')).keysFor(source) : []
  const unlocked = keys.length === 0 ? undefined : keys.map((one) => one.unlocked)
  channel.write(`${JSON.stringify({ ...request, unlocked })}\n`)
  for (const { unlocked: image, key } of keys) {
    const bytes = Buffer.from(secretBytes(key, image.id))
    channel.write(bytes, () => bytes.fill(0))
  }
}

function descriptorPaths({ source, target, indexes = {} }: MountRequest): readonly PathText[] {
  return [...(isOverlay(source) ? [] : [source.path]), target, ...Object.values(indexes)]
}

/** Asked here, because the process that serves must not touch its own mount. */
async function warnOfOwner(request: MountRequest): Promise<readonly string[]> {
  const warning = ownerWarning(request)
  if (warning === undefined) return []
  try {
    await withTimeout(access(systemPath(request.target), constants.W_OK), ROOT_TIMEOUT_MS, 'no answer')
    return []
  } catch (error) {
    return codeOf(error) === 'EACCES' ? [warning] : []
  }
}

function lost(how: string): string {
  const hint = limitHint() ?? '--foreground --debug shows more'
  return `the background process ended before the mount was ready (${how}); ${hint}`
}

/** @throws FsError EBADF for the path of a descriptor that was not open */
function asHanded(path: string, handed: ReadonlyMap<string, string>): string {
  if (descriptorOf(path) === undefined) return path
  const name = handed.get(path)
  if (name === undefined) throw new FsError('EBADF', `${path}: that descriptor is not open`)
  return name
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
