import type { PathText } from '../../base/index.ts'
import { anchoredPath, workingDirectory } from '../../sys/files/working-directory.ts'
import { readMountInfo } from '../../sys/mounts/mountinfo.ts'
import { canonicalTarget } from '../runtime/target.ts'
import { mayServeOthers } from './key.ts'
import { openSource } from './open-source.ts'
import type { Served } from './protocol.ts'
import { startServer } from './start-server.ts'
import { askServer, loadDirectories } from './talk.ts'

export { Untrusted } from './server-folder.ts'

/** A mount that is asked for. */
export interface SharedMountRequest {
  /** The name by which the program was called, and the words after it. */
  readonly program: string
  readonly words: readonly PathText[]
  /** Those of the words that name SOURCE, where there is one, and the target. */
  readonly source?: PathText | undefined
  readonly target: PathText
}

/** The mount serves. */
export interface SharedMountAnswer extends Served {
  /** As mount tables show it. */
  readonly target: PathText
}

/**
 * Has the shared server of this user make a mount; where there is none, one is started.
 * @returns undefined where an own server has to make it
 * @throws FsError why this way there is no mount, `Untrusted` where somebody else is behind it; nothing of it is left then
 */
export async function mountByServer(wish: SharedMountRequest): Promise<SharedMountAnswer | undefined> {
  if (!mayServeOthers()) return undefined
  const source = wish.source === undefined ? undefined : openSource(wish.source)
  if (wish.source !== undefined && source === undefined) return undefined
  const { program, words } = wish
  const target = canonicalTarget(anchoredPath(wish.target), readMountInfo())
  const named = { program, words, target, workingDirectory: workingDirectory() }
  const asked = { ...named, source: source?.word, sourceFd: source?.fd }
  return { ...(await askServer(asked, startServer)), target }
}

/** To be called when the caller has his answer: removes what killed mounts have left, as far as the mount was asked to. */
export async function sweepAfter({ sweeps }: SharedMountAnswer): Promise<void> {
  if (sweeps) (await loadDirectories()).sweepForServer()
}
