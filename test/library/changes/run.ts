import { runProgram } from '../trees/differential.ts'
import { type CompareOptions, compareTrees } from '../trees/tree-compare.ts'
import type { TreeEntry } from '../trees/tree-walk.ts'
import type { ChangeOptions } from './changes.ts'

export interface ChangesRequest extends ChangeOptions {
  readonly seed: number
  readonly steps: number
  /** The whole tree is looked at after so many steps. */
  readonly every: number
  /** As for `walkTree`, for kernel overlayfs. */
  readonly skipGhosts: boolean
}

/** What happened at a step, or what the tree was after it. */
type ChangesLine =
  | { readonly step: number; readonly change: string; readonly result: string }
  | { readonly step: number; readonly tree: TreeEntry[] }

export type ChangesLog = readonly ChangesLine[]

/** Times from then on are those of the clock; nothing in the layers and no change sets one. */
const RECENT = 1_600_000_000

/** Makes random changes below a directory, in a process of its own. */
export async function runChanges(directory: string, request: ChangesRequest): Promise<ChangesLog> {
  const output = await runProgram('changes/exerciser-main', [directory, JSON.stringify(request)], {
    timeout: 120_000,
  })
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ChangesLine)
}

/** The last look at the tree in a run. */
export function lastTree(log: ChangesLog): readonly TreeEntry[] {
  const tree = log.findLast((line) => 'tree' in line)
  if (tree === undefined || !('tree' in tree)) throw new Error('a run without a look at the tree')
  return tree.tree
}

/** The first difference of two runs with the same seed, with the steps before it; empty where there is none. */
export function compareChanges(ours: ChangesLog, theirs: ChangesLog, options: CompareOptions = {}): string[] {
  for (const [i, line] of ours.entries()) {
    const lines = compareLines(line, theirs[i], options)
    if (lines.length === 0) continue
    const before = ours
      .slice(Math.max(0, i - 12), i)
      .flatMap((one) => ('change' in one ? [describe(one)] : []))
    return [`step ${line.step}`, ...lines, 'before it:', ...before]
  }
  return ours.length === theirs.length ? [] : [`${ours.length} lines, expected ${theirs.length}`]
}

function compareLines(ours: ChangesLine, theirs: ChangesLine | undefined, options: CompareOptions): string[] {
  if (theirs === undefined) return ['expected nothing more']
  if ('tree' in ours && 'tree' in theirs) return compareChanged(ours.tree, theirs.tree, options)
  if (!('change' in ours) || !('change' in theirs)) return ['a tree and a change']
  if (ours.change !== theirs.change) return [`${describe(ours)}, expected ${describe(theirs)}`]
  const expected = absentListRemoved(theirs) ? 'ok ""' : comparableResult(theirs, options)
  return comparableResult(ours, options) === expected ? [] : [`${describe(ours)}, expected ${theirs.result}`]
}

/** To remove an access list that is not there is ENODATA for overlayfs until it has copied the file up; for us never. */
function absentListRemoved({
  change,
  result,
}: {
  readonly change: string
  readonly result: string
}): boolean {
  return /^removexattr .*"system\.posix_acl_/.test(change) && result === 'ENODATA'
}

/** The result of a change as it can be compared: without a count of links of an open file, if that is set aside. */
function comparableResult(
  { change, result }: { readonly change: string; readonly result: string },
  { ignore = [] }: CompareOptions,
): string {
  const showsLinks = change.startsWith('heldLook') && ignore.includes('nlink')
  return showsLinks ? result.replace(/^(ok "[0-7]+) \d+ /, '$1 - ') : result
}

function describe(line: { readonly change: string; readonly result: string }): string {
  return `${line.change}: ${line.result}`
}

/** Differences of two trees that were changed in the same way at different times; `theirs` is of an overlay. */
export function compareChanged(
  ours: readonly TreeEntry[],
  theirs: readonly TreeEntry[],
  options: CompareOptions = {},
): string[] {
  const times = new Map(ours.map(({ path, mtime }) => [path, mtime]))
  const expected = theirs.map((entry) => {
    // Overlayfs touches a directory when it copies something in it up and then cannot do what that was for.
    const isTouched = entry.type === 'directory' && entry.mtime > RECENT
    return isTouched ? { ...entry, mtime: times.get(entry.path) ?? entry.mtime } : entry
  })
  return compareTrees(ours.map(comparable), expected.map(comparable), {
    ignoreDirectoryNlink: true,
    ...options,
  })
}

/**
 * Without the time of the clock; and without the group of links of what is no regular file: overlayfs with `userxattr`
 * cannot keep the inode number of a copied symbolic link, and shows another for each name.
 */
function comparable({ linkGroup, ...entry }: TreeEntry): TreeEntry {
  const group = linkGroup !== undefined && entry.type === 'file' ? { linkGroup } : {}
  return { ...entry, ...group, mtime: Math.min(entry.mtime, RECENT) }
}
