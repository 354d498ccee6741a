import { FsError } from '../src/base/index.ts'
import type { Extra, SifObject } from './descriptor.ts'
import { checkObject, objectTitle, type Sif } from './sif.ts'
import { FILE_SYSTEM, fileSystemName, PART, partName, TYPE } from './types.ts'

type PartitionExtra = Extract<Extra, { of: 'partition' }>

/** An object with a file system. */
export type Partition = SifObject & { readonly extra: PartitionExtra }

/** What is mounted of a SIF. */
export interface ChosenPartitions {
  readonly base: SifObject
  /** On top of it, the lowest first. */
  readonly overlays: readonly SifObject[]
  /** What was left out, a line each. */
  readonly leftOut: readonly string[]
}

/** File systems that cannot be read, and why. */
const REFUSED: Readonly<Record<number, string>> = {
  [FILE_SYSTEM.archive]: 'an archive, which holds no file system',
}

/** How many partitions a message lists. */
const LISTED = 16

/** Whether an object of a SIF file holds a file system (SIF: DataPartition). */
export function isPartition(object: SifObject): object is Partition {
  return object.extra.of === 'partition'
}

/**
 * Chooses what a mount shows: the primary partition, and on it the overlay partitions of its group, in the order of
 * their records. Without a primary partition it is the only one.
 * @throws FsError EINVAL where nothing or too much can be meant; EOPNOTSUPP, EIO for one that cannot be read
 */
export function choosePartitions(sif: Sif, withOverlays: boolean): ChosenPartitions {
  const partitions = sif.objects.filter(isPartition)
  const base = basePartition(sif, partitions)
  checkUsable(sif, base)
  if (!withOverlays || base.extra.part !== PART.primary) return { base, overlays: [], leftOut: [] }
  const overlays: SifObject[] = []
  const leftOut: string[] = []
  for (const one of partitions.filter(({ extra }) => extra.part === PART.overlay)) {
    const reason =
      base.group !== undefined && one.group !== base.group ? otherGroup(one, base) : unusable(sif, one)
    if (reason === undefined) overlays.push(one)
    else leftOut.push(`${objectTitle(one)} is left out: ${reason}`)
  }
  return { base, overlays, leftOut }
}

/** @throws FsError as `checkUsable`, ENOENT where there is no such object, EINVAL where it holds no file system */
export function objectById(sif: Sif, id: number): SifObject {
  const [object, other] = sif.objects.filter((one) => one.id === id)
  const { label } = sif.source
  if (object === undefined) {
    throw new FsError('ENOENT', `${label}: has no object ${id}; ${listed(sif.objects.filter(isPartition))}`)
  }
  if (other !== undefined)
    throw new FsError('EIO', `${label}: two objects have the number ${id}: the file is damaged`)
  if (!isPartition(object) && object.type !== TYPE.blob) {
    throw new FsError('EINVAL', `${label}: ${objectTitle(object)} is no partition`)
  }
  checkUsable(sif, object)
  return object
}

/** @throws FsError EINVAL */
function basePartition({ source }: Sif, partitions: readonly Partition[]): Partition {
  const primary = partitions.filter(({ extra }) => extra.part === PART.primary)
  const candidates = primary.length > 0 ? primary : partitions
  const [one, other] = candidates
  if (one === undefined)
    throw new FsError('EINVAL', `${source.label}: a SIF without a partition: nothing to mount`)
  if (other === undefined) return one
  const wrong = primary.length > 0 ? `has ${primary.length} primary partitions` : 'has no primary partition'
  throw new FsError(
    'EINVAL',
    `${source.label}: ${wrong}: say which with -o partition=ID; ${listed(candidates)}`,
  )
}

function listed(partitions: readonly Partition[]): string {
  if (partitions.length === 0) return 'it has no partitions'
  const names = partitions
    .slice(0, LISTED)
    .map(({ id, extra }) => `${id} (${partName(extra.part)}, ${fileSystemName(extra.fileSystem)})`)
  return `partitions in it: ${names.join(', ')}${partitions.length > LISTED ? ', …' : ''}`
}

function otherGroup(one: SifObject, base: SifObject): string {
  return `it is of ${one.group === undefined ? 'no group' : `group ${one.group}`}, the primary partition of group ${base.group}`
}

/** Why a partition cannot be part of a mount; undefined where it can. */
function unusable(sif: Sif, object: SifObject): string | undefined {
  const { extra } = object
  const reason = extra.of === 'partition' ? REFUSED[extra.fileSystem] : undefined
  if (reason !== undefined) return `it is ${reason}`
  checkObject(sif, object)
  return undefined
}

/** @throws FsError EOPNOTSUPP for a file system that is not read; EIO where it does not lie in the file */
function checkUsable(sif: Sif, object: SifObject): void {
  const reason = unusable(sif, object)
  if (reason === undefined) return
  throw new FsError(
    'EOPNOTSUPP',
    `${sif.source.label}: ${objectTitle(object)} is ${reason.replace(/^it is /, '')}`,
  )
}
