import { mkdtempSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMounted } from './mount-table.ts'
import { run } from './process.ts'
import { withTempDir } from './temp.ts'

export interface OverlayOptions {
  /** Markers are `user.overlay.*` instead of `trusted.overlay.*`. */
  readonly userxattr?: boolean
  /** Makes it writable; `work` must lie on the same file system. */
  readonly upper?: { readonly upper: string; readonly work: string }
  readonly extra?: readonly string[]
}

/** Mounts a squashfs image with the kernel's reader over a loop device. Needs root. */
export async function mountKernelSquashfs(image: string, target: string): Promise<void> {
  await run('mount', ['-t', 'squashfs', '-o', 'ro,loop', image, target], { timeout: 30_000 })
}

/**
 * Mounts kernel overlayfs.
 * @param lowers top first, as in `lowerdir`; at least two where there is no upper.
 */
export async function mountKernelOverlay(
  lowers: readonly string[],
  target: string,
  options: OverlayOptions = {},
): Promise<void> {
  await withTempDir(async (names) => {
    // Short names: the option string of mount(2) is limited to a page. The kernel resolves them now.
    lowers.forEach((lower, i) => {
      symlinkSync(lower, join(names, `${i}`))
    })
    const list = [`lowerdir=${lowers.map((_, i) => i).join(':')}`, 'index=off', 'xino=on']
    if (options.userxattr) list.push('userxattr')
    if (options.upper) list.push(`upperdir=${options.upper.upper}`, `workdir=${options.upper.work}`)
    list.push(...(options.extra ?? []))
    await run('mount', ['-t', 'overlay', '-o', list.join(','), 'overlay', target], {
      cwd: names,
      timeout: 30_000,
    })
  })
}

/** Unmounts, lazily where it is busy: afterwards the target is free in any case. A target without mount is fine. */
export async function unmount(target: string): Promise<void> {
  if (!isMounted(target)) return
  const plain = await run('umount', [target], { timeout: 20_000, allowFailure: true }).catch(() => undefined)
  if (plain?.status === 0) return
  await run('umount', ['-l', target], { timeout: 20_000, allowFailure: true })
  if (isMounted(target)) throw new Error(`${target}: cannot be unmounted: ${plain?.stderr ?? 'time-out'}`)
}

/** Runs `use` with a new target directory; whatever is mounted there is unmounted in the end. */
export async function withTarget<T>(parent: string, use: (target: string) => Promise<T> | T): Promise<T> {
  const target = mkdtempSync(join(parent, 'mnt-'))
  try {
    return await use(target)
  } finally {
    await unmount(target)
    rmdirSync(target)
  }
}

/** A kernel mount of a squashfs image for the time of `use`. */
export function withKernelSquashfs<T>(
  parent: string,
  image: string,
  use: (target: string) => Promise<T> | T,
): Promise<T> {
  return withTarget(parent, async (target) => {
    await mountKernelSquashfs(image, target)
    return await use(target)
  })
}

/**
 * A kernel overlay of directories, top first, for the time of `use`. A single one gets an empty directory below it,
 * which changes nothing in what the mount shows; it exists as long as the mount, or listings would be empty.
 */
export function withKernelOverlay<T>(
  parent: string,
  lowers: readonly string[],
  use: (target: string) => Promise<T> | T,
  options: OverlayOptions = {},
): Promise<T> {
  return withTempDir((empty) =>
    withTarget(parent, async (target) => {
      const alone = lowers.length === 1 && options.upper === undefined
      await mountKernelOverlay(alone ? [...lowers, empty] : lowers, target, options)
      return await use(target)
    }),
  )
}

/** The oracle for a merged image: kernel overlayfs over kernel squashfs mounts. @param images bottom first */
export async function withKernelMerge<T>(
  parent: string,
  images: readonly string[],
  use: (target: string) => Promise<T> | T,
  options: OverlayOptions = {},
): Promise<T> {
  const mountNext = async (lowers: readonly string[], rest: readonly string[]): Promise<T> => {
    const [image, ...others] = rest
    if (image === undefined) return withKernelOverlay(parent, lowers, use, options)
    return withKernelSquashfs(parent, image, (target) => mountNext([target, ...lowers], others))
  }
  return mountNext([], images)
}

/** Writes back and drops page cache, dentries and inodes of the whole machine. Needs root. */
export async function dropCaches(): Promise<void> {
  await run('sync', [], { timeout: 120_000 })
  writeFileSync('/proc/sys/vm/drop_caches', '3')
}
