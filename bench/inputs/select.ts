import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** One name of the machine's own files that goes into the tree. */
export interface Selected {
  readonly path: string
  readonly type: 'directory' | 'file' | 'symlink'
  readonly size: number
}

export interface SelectionLimits {
  readonly entries: number
  /** Content of the first part: many files as they come. */
  readonly manyBytes: number
  /** Content in all, filled up with libraries. */
  readonly totalBytes: number
}

const MIB = 2 ** 20
/** Larger files would leave no room for many. */
const LARGEST_OF_MANY = 4 * MIB
const LIBRARY = { least: MIB / 4, most: 32 * MIB }

/** In this order, so that what the start-up rows need is there. Those that are missing are passed over. */
function roots(): string[] {
  const pythons = names('/usr/lib').filter((name) => /^python3(\.\d+)?$/.test(name))
  return [
    ...pythons.sort((a, b) => b.length - a.length).map((name) => `/usr/lib/${name}`),
    '/usr/lib/node_modules',
    '/usr/local/lib/node_modules',
    '/usr/include',
    '/usr/share/perl',
    '/usr/share/zoneinfo',
    '/usr/share/doc',
    '/usr/share',
    '/usr/lib',
  ]
}

/**
 * Chooses from what is installed, in a fixed order, so that the same machine gives the same tree. Every directory
 * stands before its content.
 */
export function selectFiles(limits: SelectionLimits): Selected[] {
  const chosen = new Map<string, Selected>()
  let bytes = 0
  const take = (entry: Selected): void => {
    if (chosen.has(entry.path)) return
    chosen.set(entry.path, entry)
    bytes += entry.size
  }
  for (const root of roots()) {
    for (const entry of walk(root)) {
      if (chosen.size >= limits.entries || bytes >= limits.manyBytes) break
      if (entry.size <= LARGEST_OF_MANY) take(entry)
    }
  }
  for (const entry of walk('/usr/lib')) {
    if (bytes >= limits.totalBytes) break
    if (entry.type === 'file' && entry.size >= LIBRARY.least && entry.size <= LIBRARY.most) take(entry)
  }
  return [...chosen.values()]
}

/** A tree in byte order of the names, without what cannot be read and without special files. */
function* walk(path: string): Generator<Selected> {
  const entry = describe(path)
  if (entry === undefined) return
  yield entry
  if (entry.type !== 'directory') return
  for (const name of names(path)) yield* walk(join(path, name))
}

function describe(path: string): Selected | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat?.isDirectory()) return { path, type: 'directory', size: 0 }
  if (stat?.isSymbolicLink()) return { path, type: 'symlink', size: 0 }
  if (stat?.isFile()) return { path, type: 'file', size: stat.size }
  return undefined
}

function names(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    return []
  }
}
