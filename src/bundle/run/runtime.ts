import { basename, isAbsolute } from 'node:path'
import { FsError, UsageError } from '../../base/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { findProgram } from '../spec/caller.ts'

/** Programs that start containers of bundles, by their command line; the first one that is here is taken. */
const KNOWN = ['crun', 'runc'] as const

/** A program that starts containers. */
export interface Runtime {
  /** Path of the program. */
  readonly program: string
  /** What stands before the command. */
  readonly flags: readonly string[]
  /** Whether it gives further groups to containers of callers without root. */
  readonly givesGroups: boolean
}

/**
 * Finds a runtime.
 * @param wanted name or path; by default crun or runc
 * @param limits the container has limits, which the runtime keeps by a cgroup
 * @throws FsError ENOENT with what to install; UsageError for an empty name
 */
export function findRuntime(wanted: string | undefined, limits: boolean): Runtime {
  if (wanted === '') throw new UsageError('--runtime: the name is empty')
  const names = wanted === undefined ? KNOWN : [wanted]
  const [program] = names.flatMap((name) => {
    const found = name.includes('/') || isAbsolute(name) ? absolutePath(name) : findProgram(name)
    return found ?? []
  })
  if (program === undefined) {
    const what = wanted === undefined ? 'neither crun nor runc is' : `${wanted} is not`
    throw new FsError(
      'ENOENT',
      `${what} in PATH: install one of them (packages crun, runc), or name one with --runtime`,
    )
  }
  const isCrun = basename(program).startsWith('crun')
  // Without limits the container stays in the cgroup of its caller: that works on every machine, also where the cgroups
  // of both versions are mixed. The device rules need a cgroup as well, and without one nothing is lost: the root file
  // system is mounted nodev, and no container may make devices.
  const flags = isCrun ? [`--cgroup-manager=${limits ? 'cgroupfs' : 'disabled'}`] : []
  return { program, flags, givesGroups: isCrun }
}

/** The words that run the container of a bundle, and hand its status on. */
export function runWords({ program, flags }: Runtime, place: Place): readonly string[] {
  return [program, ...flags, '--root', place.root, 'run', '--bundle', place.bundle, place.id]
}

/** The words that remove a container by force. */
export function removeWords({ program, flags }: Runtime, { root, id }: Place): readonly string[] {
  return [program, ...flags, '--root', root, 'delete', '--force', id]
}

/** Where a container is. */
export interface Place {
  /** Folder with the state of the runtime. */
  readonly root: string
  readonly bundle: string
  readonly id: string
}
