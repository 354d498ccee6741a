import type { Name } from '../../src/base/index.ts'
import type { Layer, Ref } from './layer-flags.ts'

/** The number that a copy is shown with: that of its original, in decimal. Below the namespace of the marks. */
export const NUMBER_RECORD: Name = 'overlay.atomfs.ino'
/** Says at the root of an upper directory that copies in it have such records. */
export const NUMBERS_MARK: Name = 'overlay.atomfs.numbers'

const RECORDS: readonly Name[] = [`trusted.${NUMBER_RECORD}`, `user.${NUMBER_RECORD}`]
/** Whatever we write at the root of an upper directory: those of older versions have no mark of their own. */
const MARK = /^(trusted|user)\.overlay\.atomfs\./

/** Whether a layer was an upper directory of ours, so that copies in it may have a record. */
export function hasNumberRecords(names: readonly Name[]): boolean {
  return names.some((name) => MARK.test(name))
}

/** @returns undefined where there is none, or something else */
export function decodeNumber(value: string | undefined): number | undefined {
  const ino = Number(value)
  return Number.isSafeInteger(ino) && ino > 0 ? ino : undefined
}

/** What a file of a layer says of its number. It is a claim: whoever made the layer has written it. */
export function claimedNumber(layer: Layer, ref: Ref): number | undefined {
  const present = layer.listxattr(ref)
  const record = RECORDS.find((name) => present.includes(name))
  const value = record === undefined ? undefined : layer.getxattr(ref, record)
  return value === undefined ? undefined : decodeNumber(Buffer.from(value).toString('latin1'))
}
