import { lstatSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { FsError } from '../base/index.ts'
import { effectiveUid } from '../sys/namespaces.ts'

/**
 * The folders that may be RUNDIR, best first. A folder that the caller chose is the only one; else atomfs' own
 * place for root, the user's runtime folder, and last a private folder under the temporary one, because a
 * session without login (su, CI) has no XDG_RUNTIME_DIR.
 */
export function runDirCandidates(
  metadataDir: string | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): readonly string[] {
  const fixed = environment['ATOMFS_TEST_RUN_DIR'] || metadataDir
  if (fixed) return [resolve(fixed)]
  const xdg = environment['XDG_RUNTIME_DIR']
  return [
    ...(effectiveUid() === 0 ? ['/run/atomfs'] : []),
    ...(xdg?.startsWith('/') ? [join(xdg, 'atomfs')] : []),
    privateTemporary(),
  ]
}

/**
 * Makes and returns RUNDIR: the first candidate that can be made.
 * @throws FsError EACCES naming what was tried
 */
export function makeRunDir(candidates: readonly string[]): string {
  const tried: string[] = []
  for (const candidate of candidates) {
    try {
      const isPrivate = candidate === privateTemporary()
      mkdirSync(candidate, { recursive: true, mode: isPrivate ? 0o700 : 0o755 })
      if (isPrivate) checkPrivate(candidate)
      // A folder that exists may still belong to somebody else.
      mkdirSync(join(candidate, 'meta'), { recursive: true, mode: 0o755 })
      return candidate
    } catch (error) {
      tried.push(`${candidate} (${(error as NodeJS.ErrnoException).code ?? String(error)})`)
    }
  }
  throw new FsError(
    'EACCES',
    `no folder for runtime data: tried ${tried.join(', ')}; give one with --metadir`,
  )
}

/** Whether what stands in a candidate may be believed: see `checkPrivate`. */
export function isTrusted(candidate: string): boolean {
  if (candidate !== privateTemporary()) return true
  try {
    checkPrivate(candidate)
    return true
  } catch {
    return false
  }
}

function privateTemporary(): string {
  return join(tmpdir(), `atomfs-${effectiveUid()}`)
}

/** Anybody can make names under the temporary folder: only a folder of ours, closed to others, is trusted. */
function checkPrivate(folder: string): void {
  const stat = lstatSync(folder)
  if (!stat.isDirectory() || stat.uid !== effectiveUid() || (stat.mode & 0o022) !== 0) {
    throw new FsError('EACCES', `${folder} is not a private folder of this user`)
  }
}
