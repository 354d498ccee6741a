import { connect, type Socket } from 'node:net'
import { codeOf, FsError, messageOf, type PathText, S_IFMT, S_IFSOCK } from '../../base/index.ts'
import { MOUNT_TYPE, readMountInfo, topMountAt } from '../../sys/mounts/mountinfo.ts'
import { descriptorPath } from '../../sys/plain/proc.ts'
import { CONTROL_SOCKET, listEntries, openEntry, type RuntimeEntry } from '../runtime/entries.ts'
import { entryAt } from '../runtime/mounted-entry.ts'
import { canonicalTarget } from '../runtime/target.ts'
import {
  CONTROL_TIMEOUT_MS,
  type ControlAnswer,
  type ControlRequest,
  type HeldMount,
  MAX_LINE_BYTES,
  type MountStatus,
} from '../serve/control-protocol.ts'

export type { DriverName, LayerState, LayerStatus, ServerStats } from '../../drivers/index.ts'
export type { HeldMount, MountStatus, UpperStatus } from '../serve/control-protocol.ts'

/**
 * Whether a mount of this program lies at a place, by the mount table alone: one whose process is dead or hangs is not
 * touched.
 * @param target absolute path
 */
export function isMount(target: PathText): boolean {
  const mounts = readMountInfo()
  return topMountAt(mounts, canonicalTarget(target, mounts))?.type === MOUNT_TYPE
}

/**
 * Asks the daemon that serves a target.
 * @param target absolute path
 * @throws FsError EINVAL if this program has no mount there, EACCES if it belongs to another user, ENOTCONN
 *   where its process does not answer
 */
export async function askStatus(target: string, metadataDir: string | undefined): Promise<MountStatus> {
  return await askEntry(entryOf(target, metadataDir))
}

function entryOf(target: PathText, metadataDir: string | undefined): RuntimeEntry {
  const mounts = readMountInfo()
  const entry = entryAt(canonicalTarget(target, mounts), mounts, metadataDir)
  if (entry !== undefined) return entry
  throw new FsError('EINVAL', `${target} is not a mount of atomfs-fuse in this mount namespace`)
}

/** Asks all daemons of this mount namespace; those that do not answer are left out. */
export async function askAll(metadataDir: string | undefined): Promise<readonly MountStatus[]> {
  const asked = listEntries(metadataDir).map((entry) => askEntry(entry).catch(() => undefined))
  return (await Promise.all(asked)).filter((status) => status !== undefined)
}

/** Whether the daemon of a mount answers: one that has begun to end does not. */
export async function isServing(entry: RuntimeEntry): Promise<boolean> {
  return await askEntry(entry).then(
    () => true,
    () => false,
  )
}

async function askEntry(entry: RuntimeEntry): Promise<MountStatus> {
  const { reply, socket } = await askOrExplain(entry, { command: 'status' })
  socket.destroy()
  if ('status' in reply) return reply.status
  throw new FsError('EIO', `${entry.config.Target}: not an answer to the question`)
}

/** Changes of a mount wait. */
export interface HeldChanges {
  readonly mount: HeldMount
  /** They go on; so they do when this process ends. */
  readonly release: () => void
}

/**
 * Makes the changes of a mount wait, and its reads go on.
 * @param target absolute path
 * @throws FsError as `askStatus`; EIO where the mount takes no changes
 */
export async function holdChanges(target: PathText, metadataDir: string | undefined): Promise<HeldChanges> {
  const { reply, socket } = await askOrExplain(entryOf(target, metadataDir), { command: 'hold' })
  if ('held' in reply) return { mount: reply.held, release: () => socket.destroy() }
  socket.destroy()
  throw new FsError('EIO', `${target}: not an answer to the question`)
}

interface Reply {
  readonly reply: Exclude<ControlAnswer, { readonly error: string }>
  /** Still open; the caller closes it. */
  readonly socket: Socket
}

async function askOrExplain(entry: RuntimeEntry, request: ControlRequest): Promise<Reply> {
  const { Target: target } = entry.config
  const { reply, socket } = await ask(entry, request).catch((error: unknown) => {
    const code = codeOf(error)
    if (code === 'EACCES') {
      throw new FsError('EACCES', `${target} is mounted by another user: ask as that user or as root`)
    }
    const reason = messageOf(error)
    throw new FsError(
      'ENOTCONN',
      `the process that serves ${target} does not answer (${reason}); unmount and mount it again`,
    )
  })
  if (!('error' in reply)) return { reply, socket }
  socket.destroy()
  throw new FsError('EIO', `${target}: ${reply.error}`)
}

async function ask(
  entry: RuntimeEntry,
  request: ControlRequest,
): Promise<{ readonly reply: ControlAnswer; readonly socket: Socket }> {
  const folder = openEntry(entry)
  // Through a descriptor: see openControl.
  const address = folder && `${descriptorPath(folder.fd)}/${CONTROL_SOCKET}`
  return await new Promise<{ readonly reply: ControlAnswer; readonly socket: Socket }>((resolve, reject) => {
    // A link in its place would lead to the socket of another program.
    if (address === undefined || !isSocket(folder?.statOf(CONTROL_SOCKET)?.mode)) {
      throw new Error('it has no socket')
    }
    let text = ''
    const socket = connect(address)
    const answered = (): void => {
      socket.setTimeout(0)
      try {
        resolve({ reply: JSON.parse(text) as ControlAnswer, socket })
      } catch (error) {
        reject(new Error(`not an answer: ${messageOf(error)}`))
      }
    }
    socket.setEncoding('utf8')
    socket.setTimeout(TIMEOUTS_MS[request.command], () => socket.destroy(new Error('no answer in time')))
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`))
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.length > MAX_LINE_BYTES) socket.destroy(new Error('answer too long'))
      else if (text.endsWith('\n')) answered()
    })
    socket.on('error', reject)
    socket.on('close', answered)
  }).finally(() => folder?.close())
}

/** Changes that are under way end before others wait. */
const TIMEOUTS_MS: Readonly<Record<ControlRequest['command'], number>> = {
  status: CONTROL_TIMEOUT_MS,
  hold: 3 * CONTROL_TIMEOUT_MS,
}

function isSocket(mode = 0): boolean {
  return (mode & S_IFMT) === S_IFSOCK
}
