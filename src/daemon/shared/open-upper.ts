import { fstatSync } from 'node:fs'
import { majorOf, minorOf } from '../../base/index.ts'
import { type OpenUpper, recordOf, upperDescriptors } from '../../molecule/index.ts'
import { type ChangesWish, openPlace } from '../runtime/changes.ts'
import type { UpperOpened } from './protocol.ts'

/** An upper directory that a client has opened for the shared server. */
export interface UpperToSend {
  readonly message: UpperOpened
  readonly descriptors: readonly number[]
  /** Removes what was made for it: there is no mount. */
  undo(): void
}

/**
 * Opens what changes of a mount go to, in the process of the client: it resolves the paths, and waits for their disk. The
 * client loads this file, which is a program of its own, where a server asks for it.
 * @throws FsError as `openPlace`
 */
export async function openForServer(wish: ChangesWish): Promise<UpperToSend> {
  const upper: OpenUpper = await openPlace(wish, [])
  const { dev } = fstatSync(upper.spec.upperFd)
  return {
    message: { upper: recordOf(upper), device: `${majorOf(dev)}:${minorOf(dev)}` },
    descriptors: upperDescriptors(upper),
    undo: () => upper.undo(),
  }
}
