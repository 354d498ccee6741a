import { omitUndefined, UsageError } from '../../base/index.ts'
import type { DaemonProcess } from '../../daemon/client/spawn.ts'
import type { ChangesPlace, MountOptions, MountRequest } from '../../daemon/request.ts'
import { absolutePath, anchoredPath } from '../../sys/files/working-directory.ts'
import { effectiveUid } from '../../sys/plain/rights.ts'
import { parseMountOptions } from '../options/mount-options.ts'
import { type OverlayOptions, parseOverlayOptions } from '../options/overlay-options.ts'
import { formatLines } from '../print/format.ts'
import { type MountFlags, parseLogFlags, serve } from './mount.ts'
import { remount, remountWords } from './remount.ts'

/** What commander makes of the options of `overlay`. */
export type OverlayFlags = Pick<MountFlags, 'foreground' | 'debug' | 'metadir' | 'log' | 'logLevel' | 'o'>

/** What mount tables show as the source. */
const SOURCE = 'overlay'

/** The request for one overlay of directories. @throws UsageError for options that make no sense, in one clear line */
export function buildOverlayRequest(
  target: string,
  flags: OverlayFlags,
): { readonly request: MountRequest; readonly ignored: readonly string[] } {
  if (target === '') throw new UsageError('the target is empty: give the directory to mount on')
  const overlay = parseOverlayOptions(flags.o ?? [])
  const changes = changesOf(overlay)
  const request: MountRequest = {
    source: SOURCE,
    lowers: overlay.lowers.map(anchoredPath),
    target: anchoredPath(target),
    allowMissingVerity: true,
    verify: 'lazy',
    ...(flags.metadir === undefined ? {} : { metadataDir: absolutePath(flags.metadir) }),
    foreground: flags.foreground ?? false,
    debug: flags.debug ?? false,
    ...parseLogFlags(flags),
    ...omitUndefined({ changes }),
    options: optionsOf(overlay),
  }
  return { request, ignored: overlay.ignored }
}

function changesOf({ upper, work }: OverlayOptions): ChangesPlace | undefined {
  if (upper === undefined) return undefined
  // One that is only shown has no work directory, or one that is not used.
  return { kind: 'pair', upper: anchoredPath(upper), work: anchoredPath(work ?? `${upper}/..`) }
}

function optionsOf({ others, neverSyncs }: OverlayOptions): MountOptions {
  const { options } = parseMountOptions(others)
  if (options.driver !== 'builtin') throw new UsageError('an overlay needs driver=builtin')
  if (options.offset !== undefined) throw new UsageError('offset= is for one squashfs file')
  const upper = neverSyncs
    ? { ...options.upper, fsync: 'volatile' as const, volatileSign: false }
    : options.upper
  // The root of a container is expected to run its setuid programs (fuse-overlayfs asks for `suid` then).
  const nosuid = others.includes('nosuid') || (options.nosuid && effectiveUid() !== 0)
  return { ...options, nosuid, upper }
}

/**
 * Runs `overlay`.
 * @param words the target, after a source that says nothing, as mount.fuse3 has it
 * @returns the exit code, when the mount serves or, in the foreground, when it has ended
 */
export async function overlay(
  words: readonly string[],
  flags: OverlayFlags,
  early?: DaemonProcess,
): Promise<number> {
  const target = words.at(-1)
  if (target === undefined || words.length > 2) {
    throw new UsageError('expected one directory to mount on, after the options')
  }
  const changes = remountWords(flags.o)
  if (changes !== undefined) return await remount(target, changes, flags.metadir)
  const { request, ignored } = buildOverlayRequest(target, flags)
  process.stderr.write(formatLines(ignored))
  return await serve(request, early)
}
