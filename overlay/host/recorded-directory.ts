import {
  DT_REG,
  direntType,
  isDirectory,
  isRegular,
  isSymlink,
  type Name,
  type Stat,
} from '../../src/base/index.ts'
import type { DirectoryCursor, LayerEntry, Ref } from '../stored/layer-flags.ts'
import { MappedCursor } from '../stored/mapped-cursor.ts'
import { decodeOwner, readRecordedTarget } from '../stored/owner-record.ts'
import { nameFromUpper, nameInUpper } from '../stored/upper-xattrs.ts'
import { HostDirectoryLayer, type HostDirectoryOptions } from './host-directory.ts'

/**
 * A directory in which somebody who may not set owners has written them down (`user.containers.override_stat` and its
 * relatives), shown as it is meant: what was the upper directory of a plain user, or a layer that containers/storage
 * unpacked with `force_mask`.
 */
export class RecordedDirectoryLayer extends HostDirectoryLayer {
  readonly #policy: { readonly owners: 'override'; readonly ownerRecord: Name }

  /** @param record attribute that holds the owners, as the root of the directory has it */
  constructor(path: string, record: Name, options: HostDirectoryOptions = {}) {
    super(path, options)
    this.#policy = { owners: 'override', ownerRecord: record }
  }

  /** @throws FsError EIO for a record that is none */
  override stat(ref: Ref): Stat {
    const host = super.stat(ref)
    if (!isRegular(host.mode) && !isDirectory(host.mode)) return host
    const value = super.getxattr(ref, this.#policy.ownerRecord)
    if (value === undefined) return host
    const owner = decodeOwner(value, host.mode)
    const hasSize = isRegular(owner.mode) || isDirectory(owner.mode) || isSymlink(owner.mode)
    return { ...host, ...owner, ...(hasSize ? {} : { size: 0, blocks: 0 }) }
  }

  override lookup(directory: Ref, name: Name): LayerEntry | undefined {
    const entry = super.lookup(directory, name)
    return entry === undefined ? undefined : this.#typed(entry)
  }

  override openDirectory(directory: Ref, position: number): DirectoryCursor {
    return new MappedCursor(super.openDirectory(directory, position), this.#typed)
  }

  override openDirectoryAt(directory: Ref, name: Name): DirectoryCursor {
    return new MappedCursor(super.openDirectoryAt(directory, name), this.#typed)
  }

  override readlink(ref: Ref): Uint8Array {
    const stat = this.stat(ref)
    if (isSymlink(super.stat(ref).mode) || !isSymlink(stat.mode)) return super.readlink(ref)
    return readRecordedTarget(this.descriptorOf(ref), stat.size, `layer ${this.label}: inode ${ref}`)
  }

  override listxattr(ref: Ref): readonly Name[] {
    const names = super.listxattr(ref).map((stored) => nameFromUpper(stored, this.#policy))
    return names.filter((name) => name !== undefined)
  }

  override getxattr(ref: Ref, name: Name): Uint8Array | undefined {
    const stored = nameInUpper(name, this.#policy)
    return stored === undefined ? undefined : super.getxattr(ref, stored)
  }

  readonly #typed = (entry: LayerEntry): LayerEntry =>
    entry.type === DT_REG ? { ...entry, type: direntType(this.stat(entry.ref).mode) } : entry
}
