import { UsageError } from '../base/index.ts'
import { anchoredPath } from '../sys/files/working-directory.ts'
import { type CommonWish, commonRequest, ext3Changes } from './mount-request.ts'
import { type KeyWords, type OverlayOptions, parseOverlayOptions } from './overlay-options.ts'
import type { MountRequest } from './request.ts'

/** What mount tables show as the source. */
const NAME = 'overlay'

export interface OverlayWish extends CommonWish {
  /** The values of all `-o`. */
  readonly lists: readonly string[]
}

export interface OverlayRequest {
  readonly request: MountRequest
  /** How keys of encrypted images are found. */
  readonly keys: KeyWords
  /** What is not done, one line each. */
  readonly ignored: readonly string[]
}

/** The request for one overlay of directories. @throws UsageError for options that make no sense, in one clear line */
export function buildOverlayRequest(wish: OverlayWish): OverlayRequest {
  const overlay = parseOverlayOptions(wish.lists)
  const { options, offset, followsRedirects } = overlay.parsed
  if (options.driver !== 'builtin') throw new UsageError('an overlay needs driver=builtin')
  if (offset !== undefined) throw new UsageError('offset= is for one squashfs file')
  const request: MountRequest = {
    source: { lowers: overlay.lowers.map(anchoredPath), followsRedirects },
    name: NAME,
    ...commonRequest(wish, overlay.parsed),
    allowMissingVerity: true,
    verify: 'lazy',
    changes: changesOf(overlay),
  }
  return { request, keys: overlay.keys, ignored: overlay.ignored }
}

function changesOf({ upper, work, parsed }: OverlayOptions): MountRequest['changes'] {
  if (parsed.ext3 !== undefined) {
    if (upper === undefined) throw new UsageError('ext3= needs upperdir=IMAGE')
    return ext3Changes(upper, parsed.options.showsOnly)
  }
  if (upper === undefined) return undefined
  return {
    kind: 'pair',
    upper: anchoredPath(upper),
    work: work === undefined ? undefined : anchoredPath(work),
  }
}
