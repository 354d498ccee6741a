import { closeSync } from 'node:fs'
import { type Log, messageOf } from '../../base/index.ts'
import type { OwnThreads, RunningServer, ServeOptions, SharedServer } from '../../drivers/index.ts'
import {
  layerDescriptors,
  type MoleculeSpec,
  type OpenUpper,
  removeEmptied,
  syncUpperApart,
} from '../../molecule/index.ts'
import type { UpperEnd } from '../mount/serving-process.ts'
import { closeChanges, sweepChanges } from '../runtime/changes.ts'
import type { OwnEntry } from '../runtime/entries.ts'

/**
 * A mount of a server whose system calls may stop: it has threads of its own, and what it has open is its own. A process
 * of one mount leaves all of it to its end. Here it is closed when these threads have ended, which may be never where a
 * file system does not answer. Used by the main thread, which waits for none of that.
 */
export class OwnThreadsMount {
  readonly #threads: SharedServer
  readonly #images: MoleculeSpec
  readonly #log: Log
  #server: OwnThreads | undefined
  #fuseFd: number | undefined
  #upper: OpenUpper | undefined
  #end: UpperEnd = 'not made'

  /** @param images opened for it alone */
  constructor(threads: SharedServer, images: MoleculeSpec, log: Log) {
    this.#threads = threads
    this.#images = images
    this.#log = log
  }

  /** It has an upper directory. */
  takes(upper: OpenUpper | undefined): void {
    this.#upper = upper
  }

  /** @param fuseFd connection to the kernel; the server closes it */
  serve(fuseFd: number, served: Pick<ServeOptions, 'spec' | 'kernel' | 'log'>): RunningServer {
    this.#fuseFd = fuseFd
    this.#server = this.#threads.serveApart(fuseFd, served)
    return this.#server
  }

  /** See `SharedPlace.closeUpper`. */
  closeUpper(upper: OpenUpper, end: UpperEnd): void {
    this.#end = end
    if (end === 'not made') closeChanges(upper, true, this.#log)
    // What goes away with the mount is being removed now.
    if (end !== 'complete' || upper.spec.temporary) return
    upper.unlock()
    if (this.#fuseFd === undefined) return
    try {
      upper.letGo(this.#fuseFd)
    } catch (error) {
      this.#log('debug', messageOf(error))
    }
  }

  /** Closes everything when the threads have ended, which were told to. Never throws. */
  async close(entry: OwnEntry | undefined): Promise<void> {
    await this.#server?.over
    const upper = this.#upper
    try {
      if (upper !== undefined && this.#end === 'cut off') await syncUpperApart(upper.spec)
    } catch (error) {
      this.#log('error', `${upper?.spec.label}: ${messageOf(error)}`)
    }
    upper?.unlock()
    upper?.close()
    for (const fd of layerDescriptors(this.#images)) closeSync(fd)
    // What is left is for the next mount or unmount: there may be much of it.
    if (entry !== undefined) sweepChanges(entry.held.runDir, this.#log, removeEmptied)
  }
}
