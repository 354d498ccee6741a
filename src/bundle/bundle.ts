import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { FsError, isErrno, omitUndefined, type PathText, systemPath, withFsError } from '../base/index.ts'
import { type ContentsRequest, prepareContents } from '../contents/index.ts'
import { startDaemon } from '../daemon/client/start-daemon.ts'
import { namedSource } from '../molecule/source.ts'
import { buildMountRequest, type MountOptions, parseMountOptions } from '../request/index.ts'
import { Folder } from '../sys/files/folder.ts'
import { realPathOrItself } from '../sys/files/real-path.ts'
import { absolutePath } from '../sys/files/working-directory.ts'
import { withImageFacts } from './image-facts.ts'
import { CHANGES, MARK, ROOTFS, removeBundle, undo } from './removal.ts'
import { type Caller, findCaller } from './spec/caller.ts'
import { runtimeSpec, type SpecOptions } from './spec/runtime-spec.ts'
import type { RuntimeSpec } from './spec/types.ts'
import { Claim, sweepUnderWay } from './under-way.ts'

/** What a bundle is made of. */
export interface BundleRequest extends ContentsRequest {
  /** The bundle: a directory that does not exist yet. */
  readonly directory: PathText
  readonly spec?: SpecOptions | undefined
  /** Bytes of changes that the container may make; ENOSPC beyond. */
  readonly size?: number | undefined
  /** Folder for runtime data. */
  readonly metadataDir?: PathText | undefined
  /** Ends the work, which throws its reason; nothing is left then. */
  readonly signal?: AbortSignal | undefined
}

/** An OCI runtime bundle: `config.json`, and the mounted root file system of a container, in one directory. */
export class Bundle {
  /** Absolute. */
  readonly path: PathText
  readonly spec: RuntimeSpec
  /** One line each. */
  readonly warnings: readonly string[]
  readonly #metadataDir: PathText | undefined

  constructor(
    path: PathText,
    spec: RuntimeSpec,
    made: { warnings: readonly string[]; metadataDir?: PathText },
  ) {
    this.path = path
    this.spec = spec
    this.warnings = made.warnings
    this.#metadataDir = made.metadataDir
  }

  /** Unmounts the root file system and removes the bundle. @throws FsError as `removeBundle` */
  async cleanup(): Promise<void> {
    await removeBundle(this.path, omitUndefined({ metadataDir: this.#metadataDir }))
  }
}

/**
 * Makes a bundle of a source, and removes what processes of this user have left that were killed.
 * @throws FsError with one line: as `runtimeSpec` and as a mount; EEXIST for the directory. Nothing is left then
 */
export async function createBundle(request: BundleRequest): Promise<Bundle> {
  const { bundle, claim } = await beginBundle(request)
  claim.end()
  return bundle
}

/** A bundle that goes away with this process, at the latest when the next one is made: until the claim has ended. */
export async function beginBundle(
  request: BundleRequest,
): Promise<{ readonly bundle: Bundle; readonly claim: Claim }> {
  const { metadataDir, signal, size } = request
  await prepareContents(request, signal)
  const caller = findCaller()
  const spec = describe(request, caller, { ...omitUndefined({ size }), ...request.spec })
  const path = absolutePath(request.directory)
  const sweeping = await sweepUnderWay(metadataDir, (what) => undo(what, metadataDir))
  const claim = Claim.make(metadataDir, { directory: path })
  try {
    makeFolder(path)
    try {
      const warnings = await fill(path, { request, caller, spec })
      signal?.throwIfAborted()
      const made = { warnings: [...sweeping, ...warnings], ...omitUndefined({ metadataDir }) }
      return { bundle: new Bundle(path, spec, made), claim }
    } catch (error) {
      await undo({ directory: path }, metadataDir)
      throw error
    }
  } catch (error) {
    claim.end()
    throw error
  }
}

/**
 * `config.json` for a container of a source, as the caller of this process may run it. Makes nothing but indexes of layers.
 * @throws FsError as `createBundle`; UsageError
 */
export async function describeContainer(
  request: ContentsRequest,
  options: SpecOptions = {},
): Promise<RuntimeSpec> {
  await prepareContents(request)
  return describe(request, findCaller(), options)
}

function describe(request: ContentsRequest, caller: Caller, options: SpecOptions): RuntimeSpec {
  return withImageFacts(request, (facts) => runtimeSpec(facts, caller, options))
}

/** @throws FsError EEXIST, ENOENT, EACCES, … */
function makeFolder(path: PathText): void {
  try {
    withFsError(path, () => mkdirSync(systemPath(path), { mode: 0o700 }))
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
    throw new FsError(
      'EEXIST',
      `${path} exists: name another place, or remove it ('atomfs-fuse bundle rm' if it is a bundle)`,
    )
  }
}

interface Filling {
  readonly request: BundleRequest
  readonly caller: Caller
  readonly spec: RuntimeSpec
}

/** @returns warnings of the mount */
async function fill(path: PathText, { request, caller, spec }: Filling): Promise<readonly string[]> {
  const { metadataDir, signal } = request
  const folder = Folder.open(realPathOrItself(path), { guarded: false })
  try {
    folder.write(MARK, `${JSON.stringify(omitUndefined({ version: 1, metadataDir }))}\n`, 0o600)
    for (const [name, mode] of [
      [ROOTFS, 0o755],
      [CHANGES, 0o700],
    ] as const) {
      folder.make(name, mode).close()
    }
    signal?.throwIfAborted()
    const [source, name] = namedSource(request.source)
    const { offset } = request.options ?? {}
    const mount = buildMountRequest({
      ...{ source, name, target: join(path, ROOTFS), persist: join(path, CHANGES) },
      ...omitUndefined({
        metadataDir,
        rootHash: request.rootHash,
        allowMissingVerity: request.allowMissingVerity,
        verify: request.verify,
      }),
      parsed: { ...parseMountOptions([]), offset, options: mountOptions(request, caller) },
    })
    const warnings = await startDaemon(mount)
    signal?.throwIfAborted()
    folder.write('config.json', `${JSON.stringify(spec, undefined, 2)}\n`, 0o600)
    return warnings
  } finally {
    folder.close()
  }
}

function mountOptions({ size, options = {} }: BundleRequest, { mountWords }: Caller): MountOptions {
  const parsed = parseMountOptions(mountWords).options
  const { kernel, upper } = parsed
  return {
    ...parsed,
    ...omitUndefined({ subdir: options.subdir }),
    // Where the kernel collects what is written, a program would learn of the bound too late, or never.
    kernel: { ...kernel, writeback: kernel.writeback && size === undefined },
    // Nothing of the changes outlives the bundle.
    upper: { ...upper, fsync: 'volatile', volatileSign: false, ...omitUndefined({ size }) },
  }
}
