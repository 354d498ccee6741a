import { FsError, type Log, messageOf } from '../../base/index.ts'
import { wipeKeys } from '../../crypt/keys/keyring.ts'
import { type DriverMount, type DriverName, driverNamed, type ServeOptions } from '../../drivers/index.ts'
import {
  adoptIndexes,
  hostDirectories,
  type MoleculeSpec,
  type OpenUpper,
  resolveMolecule,
} from '../../molecule/index.ts'
import type { MountRequest } from '../../request/index.ts'
import type { FuseMount, FuseMountOptions } from '../../sys/mounts/mount.ts'
import { readMountInfo } from '../../sys/mounts/mountinfo.ts'
import { descriptorOf, holdDescriptors } from '../../sys/plain/proc.ts'
import { whenFree } from '../ext3/free-image.ts'
import { type Ext3Mount, mountExt3 } from '../ext3/fuse2fs.ts'
import { closeChanges, openChanges, sweepAllChanges, sweepChanges } from '../runtime/changes.ts'
import type { OwnEntry } from '../runtime/entries.ts'
import { canonicalTarget, prepareTarget, refuseInside } from '../runtime/target.ts'
import { assertDescriptors } from './descriptors.ts'
import { dropPrivileges } from './privileges.ts'
import type { Opened, ServingProcess, UpperEnd } from './serving-process.ts'

/** A process with one mount, which ends with it. */
export class OwnProcess implements ServingProcess {
  readonly isShared = false
  readonly #request: MountRequest
  readonly #log: Log
  /** The file system of the upper, where another program serves it. */
  #ext3: Ext3Mount | undefined

  constructor(request: MountRequest, log: Log) {
    this.#request = request
    this.#log = log
  }

  async open(): Promise<Opened> {
    const request = this.#request
    assertDescriptors(request)
    const isDescriptor = descriptorOf(request.target) !== undefined
    const target = isDescriptor ? request.target : canonicalTarget(request.target, readMountInfo())
    adoptIndexes(request.indexes ?? {})
    const resolve = (): MoleculeSpec => resolveMolecule(request)
    const takesImage = request.changes?.kind === 'ext3'
    const images = takesImage ? await whenFree(request.metadataDir, this.#log, resolve) : resolve()
    await prepareTarget(target, images.imagePaths)
    refuseInside(
      target,
      hostDirectories(images).map(({ label }) => label),
    )
    return { target, images }
  }

  async openUpper(entry: OwnEntry, opened: Opened): Promise<OpenUpper | undefined> {
    sweepAllChanges(this.#request.metadataDir, this.#log)
    // Paths were resolved against the caller's folder, which must stay free to be unmounted.
    holdDescriptors()
    const { target, images } = opened
    const { changes } = this.#request
    if (changes?.kind === 'ext3') return await this.#openExt3(entry, opened)
    return await openChanges(this.#request, changes, entry, target, images)
  }

  /** By the program that writes such file systems. @throws FsError as `openChanges`, `mountExt3` */
  async #openExt3(entry: OwnEntry, { target, images }: Opened): Promise<OpenUpper | undefined> {
    const { upperImage } = images
    if (upperImage === undefined) throw new FsError('EIO', 'no ext3 file system is open')
    const ext3 = await mountExt3(upperImage, entry, this.#log)
    this.#ext3 = ext3
    const upper = await openChanges(this.#request, ext3.changes, entry, target, images)
    await ext3.detach()
    // The place of the directories is gone.
    const { label } = upperImage
    return (
      upper && {
        ...upper,
        spec: { ...upper.spec, label, ...(upper.spec.work && { work: { ...upper.spec.work, label } }) },
      }
    )
  }

  async mount(options: FuseMountOptions, driver: DriverName, served: ServeOptions): Promise<DriverMount> {
    return await (await driverNamed(driver)).mount(options, served)
  }

  giveUpRights(mount: FuseMount | undefined, isWritable: boolean): void {
    dropPrivileges(mount, isWritable, this.#log)
  }

  closeUpper(upper: OpenUpper, how: UpperEnd, mount: FuseMount | undefined): void {
    closeChanges(upper, how === 'not made', this.#log)
    if (how !== 'complete' || mount === undefined) return
    try {
      upper.letGo(mount.fuseFd)
    } catch (error) {
      this.#log('debug', messageOf(error))
    }
  }

  async close(): Promise<void> {
    await this.#ext3?.end()
    wipeKeys()
  }

  sweep(entry: OwnEntry): void {
    sweepChanges(entry.held.runDir, this.#log)
  }
}
