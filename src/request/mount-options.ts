import { availableParallelism } from 'node:os'
import { type PartChoice, UsageError } from '../base/index.ts'
import { DEFAULT_KERNEL_OPTIONS } from '../fuse/protocol/kernel-options.ts'
import type { VerifyMode } from '../molecule/index.ts'
import { isHostRoot } from '../sys/plain/namespaces.ts'
import { effectiveUid } from '../sys/plain/rights.ts'
import { type IdOptions, idRule } from './id-mapping.ts'
import { isIgnoredOption } from './ignored-options.ts'
import { FLAGS, lookup, MAX_WORKERS, type OptionState, SETTERS, setFsync } from './option-table.ts'
import type { MountOptions } from './request.ts'

const DEFAULT_CACHE_BYTES = 64 * 2 ** 20

/** The typed options, and what `-o` says of things that are no options of the mount itself. */
export interface ParsedMountOptions {
  readonly options: MountOptions
  /** Byte position of the image in its file. */
  readonly offset?: number | undefined
  /** Which parts of a file with several images. */
  readonly parts: PartChoice
  /** Directories among the layers are continued where the redirects of renamed directories lead. */
  readonly followsRedirects: boolean
  readonly verify?: VerifyMode | undefined
  /** Changes go into an ext3 file system, by this program. */
  readonly ext3?: 'fuse2fs' | undefined
}

/** Takes the words of `-o` one after the other. */
export class MountOptionWords {
  readonly #state: OptionState = {
    draft: {
      // Root mounts for others; the permission bits still hold, because the kernel checks them.
      allowOther: effectiveUid() === 0,
      defaultPermissions: true,
      noexec: false,
      driver: 'builtin',
      cacheSize: DEFAULT_CACHE_BYTES,
      workers: Math.min(availableParallelism(), MAX_WORKERS),
      showsOnly: false,
      upper: { fsync: 'auto', volatileSign: true, redirectDir: true },
      kernel: { ...DEFAULT_KERNEL_OPTIONS },
    },
    parts: {},
    followsRedirects: false,
    flags: new Set(),
    uid: {},
    gid: {},
    squashToRoot: false,
  }

  /**
   * @param value what follows `=`; undefined where nothing does
   * @throws UsageError naming the option
   */
  add(name: string, value: string | undefined): void {
    if (isIgnoredOption(name)) return
    const setter = lookup(SETTERS, name)
    const flag = lookup(FLAGS, name)
    if (setter !== undefined && (value !== undefined || flag === undefined)) {
      if (value === undefined || value === '') {
        throw new UsageError(`option '${name}' needs a value: ${name}=...`)
      }
      setter(this.#state, value, name)
      return
    }
    if (flag === undefined) throw unknownOption(name)
    if (value !== undefined) throw new UsageError(`option '${name}' takes no value`)
    flag(this.#state)
  }

  /** Changes are never synced, and leave no sign of it: `fsync=0` of fuse-overlayfs. */
  neverSync(): void {
    setFsync(this.#state, 'volatile', false)
  }

  /** `ino32_t=0` and `=1`, as fuse-overlayfs takes them. */
  showNarrowInodes(on: boolean): void {
    this.#state.draft.kernel.ino32 = on
  }

  /**
   * @param rootRunsSetuid setuid programs run for root of any user namespace, unless a word says otherwise
   * @param zeroShowsStored `uid=0` and `gid=0` stand for the owners of the image
   */
  result({ rootRunsSetuid = false, zeroShowsStored = false } = {}): ParsedMountOptions {
    const { draft, flags, offset, parts, followsRedirects, verify, ext3, suid, dev } = this.#state
    // mount.fuse3 adds dev and suid for everybody, so from others than root of the machine they are no error.
    const isHost = isHostRoot()
    const maySetuid = rootRunsSetuid && effectiveUid() === 0 ? suid !== false : isHost && suid === true
    const options: MountOptions = {
      ...draft,
      nosuid: !maySetuid,
      nodev: !(isHost && dev === true),
      flags: [...flags],
      uid: idRule(this.#ids('uid', zeroShowsStored), this.#state.squashToRoot),
      gid: idRule(this.#ids('gid', zeroShowsStored), this.#state.squashToRoot),
    }
    return { options, offset, parts, followsRedirects, verify, ext3 }
  }

  #ids(kind: 'uid' | 'gid', zeroShowsStored: boolean): IdOptions {
    const { fixed, ...others } = this.#state[kind]
    return fixed === undefined || (fixed === 0 && zeroShowsStored) ? others : { ...others, fixed }
  }
}

/** Parses the values of all `-o`, in their order. @throws UsageError naming the option */
export function parseMountOptions(lists: readonly string[]): ParsedMountOptions {
  const words = new MountOptionWords()
  for (const word of lists.flatMap(splitOptions)) words.add(...nameAndValue(word))
  return words.result()
}

/** An option of the form `NAME` or `NAME=VALUE`. */
export function nameAndValue(word: string): [name: string, value: string | undefined] {
  const equals = word.indexOf('=')
  return equals < 0 ? [word, undefined] : [word.slice(0, equals), word.slice(equals + 1)]
}

function unknownOption(name: string): UsageError {
  const known = [
    ...Object.keys(FLAGS).filter((one) => one !== 'allow_root'),
    ...Object.keys(SETTERS).map((one) => `${one}=`),
  ]
  return new UsageError(`unknown option '${name}' after -o; known are: ${known.sort().join(', ')}`)
}

/** Whether `MountOptionWords` knows the name of an option, with or without a value. */
export function isKnownOption(name: string): boolean {
  return isIgnoredOption(name) || lookup(SETTERS, name) !== undefined || lookup(FLAGS, name) !== undefined
}

/** Splits at commas; a backslash takes the next character as it is. Empty words are left out. */
export function splitOptions(list: string): readonly string[] {
  const words = list.match(/(?:\\.|[^,\\]|\\$)+/gs) ?? []
  return words.map((word) => word.replace(/\\(.)/gs, '$1'))
}
