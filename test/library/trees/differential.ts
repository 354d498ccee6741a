import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { writeOciLayout } from '../images/oci-layout.ts'
import { type AtomfsOptions, withAtomfs } from '../programs/atomfs.ts'
import { withKernelMerge, withKernelSquashfs, withTarget } from '../programs/mounts.ts'
import { type RunOptions, run } from '../programs/process.ts'
import { type TreeEntry, type WalkOptions, walkTree } from './tree-walk.ts'
import { bundleProgram, walkInChild } from './walk-child.ts'

const here = fileURLToPath(new URL('..', import.meta.url))
const programs = new Map<string, Promise<string>>()

/** Runs `test/library/NAME.ts` in a process of its own. @returns its standard output */
export async function runProgram(
  name: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const known = programs.get(name)
  const program = known ?? bundleProgram(join(here, `${name}.ts`))
  programs.set(name, program)
  return (await run(process.execPath, [await program, ...args], { timeout: 120_000, ...options })).stdout
}

/** All that can be seen of a tree, with `st_blocks`, as the kernel's reader shows an image. */
export function seenByKernel(temp: string, image: string): Promise<TreeEntry[]> {
  return withKernelSquashfs(temp, image, (target) => walkTree(target, { blocks: true }))
}

/** The same through our mount of a squashfs file or an image. */
export function seenByUs(
  temp: string,
  source: string,
  args: readonly string[] = [],
  options: AtomfsOptions = {},
): Promise<TreeEntry[]> {
  return withAtomfs(
    temp,
    source,
    ({ target }) => walkInChild(target, { blocks: true, timeout: 200_000 }),
    args,
    options,
  )
}

/** The same through squashfuse, whose inode numbers do not tell hard links. */
export function seenBySquashfuse(
  temp: string,
  image: string,
  options: WalkOptions = {},
): Promise<TreeEntry[]> {
  return withTarget(temp, async (target) => {
    await run('squashfuse', [image, target], { timeout: 30_000 })
    return await walkInChild(target, options)
  })
}

/** Kernel overlayfs over kernel squashfs mounts. @param images bottom first */
export function mergedByKernel(
  temp: string,
  images: readonly string[],
  form: 'trusted' | 'user' = 'trusted',
): Promise<TreeEntry[]> {
  return withKernelMerge(temp, images, (target) => walkTree(target, { skipGhosts: true, blocks: true }), {
    userxattr: form === 'user',
  })
}

/** Packs layers into an image layout `NAME` below `temp`. @returns SOURCE for the mount, which is unverified */
export async function ociSource(temp: string, name: string, images: readonly string[]): Promise<string> {
  const ociDir = join(temp, name)
  await writeOciLayout(ociDir, [{ tag: 'test', layers: images.map((file) => ({ file })) }])
  return `${ociDir}:test`
}

/** Options for an image without root hashes. */
export const UNVERIFIED: readonly string[] = ['--allow-missing-verity']

/** Path and inode number of everything below a directory. */
export async function readInodes(
  directory: string,
  by: 'entry' | 'stat' = 'entry',
): Promise<ReadonlyMap<string, string>> {
  // A test of the attributes makes find(1) ask for them, and take the number from there.
  const looks = by === 'stat' ? ['-links', '+0'] : []
  const { stdout } = await run('find', [directory, '-mindepth', '1', ...looks, '-printf', '%P\\0%i\\0'])
  const words = stdout.split('\0').slice(0, -1)
  const inodes = new Map<string, string>()
  for (let i = 0; i < words.length; i += 2) inodes.set(words[i] ?? '', words[i + 1] ?? '')
  const root = (await run('stat', ['-c', '%i', directory])).stdout.trim()
  return inodes.set('.', root)
}
