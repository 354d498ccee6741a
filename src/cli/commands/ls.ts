import {
  isDirectory,
  majorOf,
  minorOf,
  type PathText,
  PERMISSIONS,
  S_IFBLK,
  S_IFCHR,
  S_IFMT,
  type Stat,
} from '../../base/index.ts'
import { type ListedFile, listContents, openContents } from '../../contents/index.ts'
import { formatLines } from '../print/format.ts'
import { formatMode, typeWord } from '../print/mode.ts'
import { TextOutput } from '../print/output.ts'
import { contentsRequest, type SourceFlags } from './source-flags.ts'

export interface LsFlags extends SourceFlags {
  readonly long?: boolean
  readonly recursive?: boolean
  readonly json?: boolean
}

/**
 * Runs `ls`: lists a directory of SOURCE, or one file.
 * @returns 1 where something could not be read, which was named
 */
export async function ls(source: string, path: PathText, flags: LsFlags): Promise<number> {
  const contents = openContents(contentsRequest(source, flags))
  try {
    const { recursive = false, json = false } = flags
    const output = new TextOutput()
    let failures = 0
    let separator = '[\n  '
    for (const item of listContents(contents, { path, recursive })) {
      if ('error' in item) {
        failures += 1
        process.stderr.write(formatLines([`Error: ${item.path}: ${item.error.message}`]))
        continue
      }
      if (json) {
        output.add(separator + JSON.stringify(jsonOf(item)))
        separator = ',\n  '
      } else output.add(formatLines([lineOf(item, flags)]))
      await output.drained()
      if (output.isOver) break
    }
    if (json) output.add(separator === ',\n  ' ? '\n]\n' : '[]\n')
    await output.end()
    return failures > 0 ? 1 : 0
  } finally {
    contents.close()
  }
}

function lineOf({ path, stat, target }: ListedFile, { long = false, recursive = false }: LsFlags): string {
  const name = recursive || path === '/' ? path : path.slice(path.lastIndexOf('/') + 1)
  if (!long) return name
  const owner = `${stat.uid}/${stat.gid}`.padEnd(11)
  const arrow = target === undefined ? '' : ` -> ${target}`
  return `${formatMode(stat.mode)} ${owner} ${sizeOf(stat).padStart(10)} ${timeOf(stat.mtime)} ${name}${arrow}`
}

function isDevice(mode: number): boolean {
  return (mode & S_IFMT) === S_IFBLK || (mode & S_IFMT) === S_IFCHR
}

function sizeOf({ mode, rdev, size }: Stat): string {
  if (isDevice(mode)) return `${majorOf(rdev)}, ${minorOf(rdev)}`
  return isDirectory(mode) ? '-' : String(size)
}

/** UTC, to the minute. @param seconds since 1970 */
function timeOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 16).replace('T', ' ')
}

function jsonOf({ path, stat, target }: ListedFile): object {
  const { mode, uid, gid, size, mtime, nlink, rdev } = stat
  return {
    path,
    type: typeWord(mode),
    mode: (mode & PERMISSIONS).toString(8).padStart(4, '0'),
    uid,
    gid,
    mtime,
    nlink,
    ...(isDirectory(mode) ? {} : { size }),
    ...(isDevice(mode) ? { major: majorOf(rdev), minor: minorOf(rdev) } : {}),
    ...(target === undefined ? {} : { target }),
  }
}
