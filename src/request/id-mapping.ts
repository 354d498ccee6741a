import { UsageError } from '../base/index.ts'
import type { IdRange, IdRule } from '../molecule/index.ts'

/** Ids are 32 bits and the last one means "none" (chown(2)). */
export const MAX_ID = 2 ** 32 - 2

/** As many ranges as a user namespace may have (user_namespaces(7)). */
const MAX_RANGES = 340

/** What the options say of one kind of id; `-o` may say several things of it. */
export interface IdOptions {
  /** `uid=`, `squash_to_uid=` */
  fixed?: number
  /** `uidmapping=` */
  ranges?: readonly IdRange[]
}

/** The rule that the options come to: one id for all goes before root for all, and that before ranges. */
export function idRule(options: IdOptions, squashToRoot: boolean): IdRule | undefined {
  return options.fixed ?? (squashToRoot ? 0 : options.ranges)
}

/**
 * Parses `STORED:SHOWN:COUNT[:STORED:SHOWN:COUNT…]`, the form of fuse-overlayfs. A colon at the start is allowed:
 * containers/storage writes one (`optsAppendMappings`).
 * @throws UsageError naming the option
 */
export function parseIdRanges(name: string, value: string): readonly IdRange[] {
  const numbers = value.replace(/^:/, '').split(':')
  if (numbers.length % 3 !== 0 || numbers.some((text) => !/^\d{1,10}$/.test(text))) {
    throw new UsageError(
      `option ${name}=${value}: expected STORED:SHOWN:COUNT, once or several times, all whole numbers`,
    )
  }
  if (numbers.length / 3 > MAX_RANGES) {
    throw new UsageError(`option ${name}: ${numbers.length / 3} ranges, at most ${MAX_RANGES}`)
  }
  const ranges: IdRange[] = []
  for (let at = 0; at < numbers.length; at += 3) {
    const [stored = 0, shown = 0, count = 0] = numbers.slice(at, at + 3).map(Number)
    if (count < 1 || stored + count - 1 > MAX_ID || shown + count - 1 > MAX_ID) {
      throw new UsageError(`option ${name}=${value}: ${count} ids from ${stored} or ${shown} are not ids`)
    }
    ranges.push({ stored, shown, count })
  }
  return ranges
}
