import { connect } from 'node:net'
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
  MAX_LINE_BYTES,
  type MountStatus,
} from '../serve/control-protocol.ts'

export type { DriverName, LayerState, LayerStatus, ServerStats } from '../../drivers/index.ts'
export type { MountStatus, UpperStatus } from '../serve/control-protocol.ts'

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
  const mounts = readMountInfo()
  const entry = entryAt(canonicalTarget(target, mounts), mounts, metadataDir)
  if (entry === undefined) {
    throw new FsError('EINVAL', `${target} is not a mount of atomfs-fuse in this mount namespace`)
  }
  return await askEntry(entry)
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
  const { Target: target } = entry.config
  const reply = await ask(entry, { command: 'status' }).catch((error: unknown) => {
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
  if ('error' in reply) throw new FsError('EIO', `${target}: ${reply.error}`)
  return reply.status
}

async function ask(entry: RuntimeEntry, request: ControlRequest): Promise<ControlAnswer> {
  const folder = openEntry(entry)
  // Through a descriptor: see openControl.
  const address = folder && `${descriptorPath(folder.fd)}/${CONTROL_SOCKET}`
  return await new Promise<ControlAnswer>((resolve, reject) => {
    // A link in its place would lead to the socket of another program.
    if (address === undefined || !isSocket(folder?.statOf(CONTROL_SOCKET)?.mode)) {
      throw new Error('it has no socket')
    }
    let text = ''
    const socket = connect(address)
    socket.setEncoding('utf8')
    socket.setTimeout(CONTROL_TIMEOUT_MS, () => socket.destroy(new Error('no answer in time')))
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`))
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.length > MAX_LINE_BYTES) socket.destroy(new Error('answer too long'))
    })
    socket.on('error', reject)
    socket.on('close', () => {
      try {
        resolve(JSON.parse(text) as ControlAnswer)
      } catch (error) {
        reject(new Error(`not an answer: ${messageOf(error)}`))
      }
    })
  }).finally(() => folder?.close())
}

function isSocket(mode = 0): boolean {
  return (mode & S_IFMT) === S_IFSOCK
}
