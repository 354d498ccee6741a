import { closeSync } from 'node:fs'
import { FsError } from '../../base/index.ts'
import { isOverlay } from '../../molecule/index.ts'
import { assumingDirectory } from '../../sys/files/working-directory.ts'
import { namespaceNumber } from '../../sys/plain/namespaces.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { failureCode, failureText } from '../life/failure.ts'
import type { ClientConnection } from './client-connection.ts'
import { ClientSource } from './client-source.ts'
import { MOUNT_TIMEOUT_MS, OneMount, type ServingOptions } from './one-mount.ts'
import type { Refusal, Wish } from './protocol.ts'
import { readWish, refused } from './read-wish.ts'

/** A client sends what it wants with its first message. */
const WISH_TIMEOUT_MS = 5000

/**
 * Serves what one client wants, from its first message to the end of the mount.
 * @throws FsError why there was no mount; the client was told, as far as it could be
 */
export async function serveClient(connection: ClientConnection, options: ServingOptions): Promise<void> {
  let sourceFd: number | undefined
  try {
    const { message, descriptors } = await connection.receive(WISH_TIMEOUT_MS)
    const wish = message as Wish
    sourceFd = descriptors[0]
    if (wish.key !== options.key) throw refused('it serves processes that may do something else')
    const read = assumingDirectory(wish.workingDirectory, () => readWish(wish, sourceFd, options.options))
    const { source } = read.request
    const shown = isOverlay(source)
      ? await ClientSource.ofLowers(connection, source.lowers, MOUNT_TIMEOUT_MS)
      : ClientSource.ofWord(wish.source, sourceFd)
    sourceFd = undefined
    await new OneMount(connection, options, shown, read).serve()
  } catch (error) {
    refuse(connection, error)
    throw error
  } finally {
    if (sourceFd !== undefined) closeSync(sourceFd)
  }
}

/** Tells a client why there is no mount. */
export function refuse(connection: ClientConnection, error: unknown): void {
  connection.send({ refused: failureText(error), code: failureCode(error) } satisfies Refusal)
}

/** Only processes of this user in this mount namespace may ask. @throws FsError EPERM */
export function assertFriend({ peer }: ClientConnection): void {
  if (peer.uid !== effectiveUid()) throw new FsError('EPERM', `asked by user ${peer.uid}`)
  const namespace = namespaceNumber('mnt', String(peer.pid))
  if (namespace === undefined || namespace !== namespaceNumber('mnt')) {
    throw new FsError('EPERM', `asked by process ${peer.pid} of another mount namespace`)
  }
}
