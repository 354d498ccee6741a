import {
  accessSync,
  constants,
  lstatSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { codeOf, FsError, type PathText, systemPath, UsageError } from '../../base/index.ts'
import { absolutePath } from '../../sys/files/working-directory.ts'
import { formatLines } from '../print/format.ts'
import { APPTAINER_NAMES, LINK_NAMES, OWN_NAME } from './names.ts'

export interface InstallLinksFlags {
  /** Names that only callers like Apptainer are served by, too. */
  readonly apptainer?: boolean
}

/**
 * Runs `install-links`: makes a symbolic link to this program for each name, and prints them. Links to this program,
 * also of another installation, are made anew; nothing else is overwritten.
 * @param names those that are wanted; all where there are none
 * @throws FsError EEXIST where something else has one of the names: then nothing was changed
 */
export async function installLinks(
  dir: PathText,
  names: readonly string[],
  { apptainer = false }: InstallLinksFlags = {},
): Promise<number> {
  const known: readonly string[] = apptainer ? [...LINK_NAMES, ...APPTAINER_NAMES] : LINK_NAMES
  const unknown = names.find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw new UsageError(`the program has no name '${unknown}'; known are: ${known.join(', ')}`)
  }
  const program = ownProgram()
  const links = (names.length === 0 ? known : names).map((name) => join(absolutePath(dir), name))
  const taken = links.filter((link) => !isFree(link))
  if (taken.length > 0) {
    throw new FsError(
      'EEXIST',
      `no link was made: ${taken.join(', ')} ${taken.length === 1 ? 'is' : 'are'} not of this program; ` +
        `name those that you want: install-links DIR ${known.join(' ')}`,
    )
  }
  for (const link of links) replaceLink(link, program)
  process.stdout.write(formatLines(links.map((link) => `${link} -> ${program}`)))
  return 0
}

/** The launcher, behind all links by which it was called. */
function ownProgram(): PathText {
  const path = realpathSync(process.argv[1] ?? '')
  try {
    accessSync(path, constants.X_OK)
  } catch (error) {
    throw new FsError('EACCES', `${path} cannot be executed: call the program by bin/${OWN_NAME}`, {
      cause: error,
    })
  }
  return path
}

/** Whether there is nothing, or a link to a program of our name. */
function isFree(link: PathText): boolean {
  const path = systemPath(link)
  try {
    return lstatSync(path).isSymbolicLink() && basename(readlinkSync(path)) === OWN_NAME
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return true
    throw new FsError('EIO', `${link}: ${codeOf(error) ?? String(error)}`, { cause: error })
  }
}

/** In one step: whoever calls the name meanwhile finds the old link or the new one. */
function replaceLink(link: PathText, program: PathText): void {
  const temporary = systemPath(`${link}.${process.pid}.new`)
  try {
    symlinkSync(systemPath(program), temporary)
    renameSync(temporary, systemPath(link))
  } catch (error) {
    rmSync(temporary, { force: true })
    throw new FsError('EIO', `cannot make the link ${link}: ${codeOf(error) ?? String(error)}`, {
      cause: error,
    })
  }
}
