import type { NamedSource } from '../../base/index.ts'
import type { ContentsRequest } from '../../contents/index.ts'
import { parseMountOptions, parseOffset, parseRootHash } from '../../request/index.ts'
import type { KeyFlags } from '../words/key-flags.ts'
import { withMountWords } from '../words/mount-words.ts'

/** What commander makes of the options that say how a source is read without a mount. */
export interface SourceFlags extends KeyFlags {
  readonly allowMissingVerity?: boolean
  readonly rootHash?: string
  readonly offset?: string
  readonly o?: readonly string[]
}

/** @throws UsageError */
export function contentsRequest(source: string | NamedSource, flags: SourceFlags): ContentsRequest {
  const { rootHash, allowMissingVerity, offset, o = [] } = withMountWords(flags)
  const parsed = parseMountOptions(o)
  const { subdir, uid, gid } = parsed.options
  return {
    source,
    rootHash: rootHash === undefined ? undefined : parseRootHash(rootHash),
    allowMissingVerity,
    verify: parsed.verify,
    options: {
      offset: offset === undefined ? parsed.offset : parseOffset(offset),
      parts: parsed.parts,
      ...{ subdir, uid, gid },
    },
  }
}

/** The first option among them that says how an image is read, for a source that is none; undefined where there is none. */
export function imageFlags({ rootHash, offset, o }: SourceFlags): string | undefined {
  if (rootHash !== undefined) return '--root-hash'
  if (offset !== undefined) return '--offset'
  return o === undefined || o.length === 0 ? undefined : '-o'
}
