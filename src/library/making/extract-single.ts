import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import {
  complaintOf,
  FsError,
  isErrno,
  messageOf,
  omitUndefined,
  type PathText,
  systemPath,
  UsageError,
  withFsError,
} from '../../base/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'

/** How the tree of an image comes into a directory: `mount` shows it there, `extract` writes it. */
export type ExtractHow = 'mount' | 'extract'

/** How an image is extracted. */
export interface ExtractSingleOptions {
  /**
   * Ways to try, in this order. By default what the variable STACKER_SQUASHFS_EXTRACT_POLICY says in the words of atomfs
   * (`kmount` and `squashfuse`: mount, `unsquashfs`: extract), else first `mount`, then `extract`.
   */
  readonly policy?: readonly ExtractHow[]
  /** dm-verity root hash, hex: with one, every byte is verified before it is used. */
  readonly rootHash?: string
}

const POLICY = 'STACKER_SQUASHFS_EXTRACT_POLICY'
const WORDS: Readonly<Record<string, ExtractHow>> = {
  kmount: 'mount',
  squashfuse: 'mount',
  unsquashfs: 'extract',
}

/**
 * Brings the tree of one squashfs image into a directory, which is made if it is missing. What is there from an earlier
 * call stays: a mount, or the files of a directory that is not empty.
 * @returns what was done
 * @throws FsError with the reasons, where no way of the policy is possible; UsageError for arguments that make no sense
 */
export async function extractSingleSquash(
  image: PathText,
  directory: PathText,
  options: ExtractSingleOptions = {},
): Promise<ExtractHow> {
  const complaint = complaintOf('image', image) ?? complaintOf('directory', directory)
  if (complaint !== undefined) throw new UsageError(complaint)
  const policy = options.policy ?? defaultPolicy()
  const [first] = policy
  if (first === undefined) throw new UsageError('policy: it names no way to extract')
  const target = absolutePath(directory)
  withFsError(directory, () => mkdirSync(systemPath(target), { recursive: true, mode: 0o755 }))
  const reasons: FsError[] = []
  for (const how of policy) {
    try {
      await WAYS[how](absolutePath(image), target, options.rootHash)
      return how
    } catch (error) {
      if (!(error instanceof FsError)) throw error
      reasons.push(error)
    }
  }
  const [reason] = reasons
  const lines = reasons.map((error, i) => `${policy[i]}: ${messageOf(error)}`)
  throw new FsError(reason?.code ?? 'EIO', `${image} is not extracted: ${lines.join('; ')}`)
}

/** @throws UsageError */
function defaultPolicy(): readonly ExtractHow[] {
  const words = (process.env[POLICY] ?? '').split(/\s+/).filter((word) => word !== '')
  if (words.length === 0) return ['mount', 'extract']
  return words.map((word) => {
    const how = WORDS[word]
    if (how === undefined)
      throw new UsageError(`${POLICY}: ${JSON.stringify(word)} is none of kmount, squashfuse, unsquashfs`)
    return how
  })
}

const WAYS: Readonly<
  Record<ExtractHow, (image: PathText, target: PathText, rootHash: string | undefined) => Promise<void>>
> = {
  async mount(image, target, rootHash) {
    const { mountStatus } = await import('../atomfs/index.ts')
    try {
      await mountStatus(target)
      return
    } catch (error) {
      if (!isErrno(error, 'EINVAL')) throw error
    }
    const { startDaemon } = await import('../../daemon/client/start-daemon.ts')
    const { buildMountRequest, parseMountOptions } = await import('../../request/index.ts')
    const request = buildMountRequest({
      source: { container: 'file', path: image },
      name: image,
      target,
      allowMissingVerity: true,
      parsed: parseMountOptions([]),
      ...omitUndefined({ rootHash }),
    })
    await startDaemon(request)
  },
  async extract(image, target, rootHash) {
    if (withFsError(target, () => readdirSync(systemPath(target))).length > 0) return
    const { extractSource } = await import('../../contents/index.ts')
    let first: FsError | undefined
    try {
      const { failures } = await extractSource(
        { source: { container: 'file', path: image }, directory: target, ...omitUndefined({ rootHash }) },
        { onFailure: (_path, error) => (first ??= error) },
      )
      if (failures > 0) throw new FsError(first?.code ?? 'EIO', first?.message ?? 'not all was extracted')
    } catch (error) {
      // A part would be taken for the whole by the next call.
      rmSync(systemPath(target), { recursive: true, force: true })
      throw error
    }
  },
}
