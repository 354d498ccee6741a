import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmdirSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { S_IFIFO, S_IFREG, S_IFSOCK } from '../../../src/base/index.ts'
import { linkFd, mknodAt, O_PATH, O_TMPFILE, openUnnamed } from '../../../src/sys/files/at.ts'
import { readEntries, readMapped } from '../programs/direct-io.ts'
import { writeMapped } from './mapping.ts'

/**
 * What other overlays get wrong, one case each: `CASE DIRECTORY`, where the directory holds `below` and `sub/below`
 * ("from below"). Prints as JSON what was seen.
 */

const { O_CREAT, O_EXCL, O_RDWR, O_RDONLY, O_DIRECTORY } = constants
/** Longest path that a system call takes, without its NUL, and longest name. */
const PATH_LIMIT = 4095
const NAME_LIMIT = 255

function codeOf(action: () => unknown): string {
  try {
    action()
    return 'ok'
  } catch (error) {
    return `${(error as { readonly code?: unknown }).code}`
  }
}

function contentOf(fd: number): string {
  const data = Buffer.alloc(100)
  return data.toString('latin1', 0, readSync(fd, data, 0, data.length, 0))
}

/** An open file whose last name goes. */
function unlinked(path: string): unknown {
  const fd = openSync(path, O_RDWR | O_CREAT, 0o600)
  writeSync(fd, 'some content', 0)
  unlinkSync(path)
  const links = fstatSync(fd).nlink
  ftruncateSync(fd, 4)
  fchmodSync(fd, 0o640)
  writeSync(fd, '!', 6)
  writeMapped(fd, 1, Buffer.from('O'), true)
  fsyncSync(fd)
  const { size, mode } = fstatSync(fd)
  const seen = { links, size, mode: (mode & 0o7777).toString(8), content: contentOf(fd) }
  closeSync(fd)
  return { ...seen, isGone: !existsSync(path) }
}

function unnamed(directory: string): unknown {
  const dir = openSync(directory, O_RDONLY | O_DIRECTORY)
  const fd = openUnnamed(dir, 0o640)
  writeSync(fd, 'unnamed')
  const before = { links: fstatSync(fd).nlink, names: readdirSync(directory).includes('named') }
  linkFd(fd, dir, 'named')
  const after = { links: fstatSync(fd).nlink, content: readFileSync(join(directory, 'named'), 'utf8') }
  const again = codeOf(() => linkFd(fd, dir, 'named'))
  closeSync(fd)
  // With O_EXCL it can have no name, ever.
  const excluded = openSync(directory, O_TMPFILE | O_RDWR | O_EXCL, 0o600)
  const never = codeOf(() => linkFd(excluded, dir, 'never'))
  for (const open of [excluded, dir]) closeSync(open)
  return { before, after, again, never }
}

/** A tree as deep as paths are long, of which every file is used by its whole path. */
function longPaths(directory: string): unknown {
  const parts = [directory]
  let length = directory.length
  while (length + 1 + NAME_LIMIT + 1 + 1 <= PATH_LIMIT) {
    parts.push('d'.repeat(Math.min(NAME_LIMIT, PATH_LIMIT - length - 3)))
    length += 1 + (parts.at(-1) ?? '').length
    mkdirSync(parts.join('/'))
  }
  const parent = parts.join('/')
  const [file, moved] = ['f', 'm'].map((letter) => `${parent}/${letter.repeat(PATH_LIMIT - length - 1)}`)
  if (file === undefined || moved === undefined) throw new Error('no names')
  writeFileSync(file, 'deep')
  chmodSync(file, 0o600)
  renameSync(file, moved)
  const seen = {
    length: moved.length,
    content: readFileSync(moved, 'utf8'),
    list: readdirSync(parent).length,
  }
  const tooLong = codeOf(() => writeFileSync(`${moved}x`, ''))
  unlinkSync(moved)
  for (let depth = parts.length; depth > 1; depth -= 1) rmdirSync(parts.slice(0, depth).join('/'))
  return { ...seen, tooLong, left: existsSync(parts.slice(0, 2).join('/')) }
}

function longNames(directory: string): unknown {
  const limit = Number(execFileSync('stat', ['-f', '-c', '%l', directory], { encoding: 'utf8' }))
  const name = join(directory, 'n'.repeat(NAME_LIMIT))
  const made = [
    codeOf(() => writeFileSync(name, '')),
    codeOf(() => renameSync(name, `${name.slice(0, -1)}x`)),
  ]
  const tooLong = codeOf(() => writeFileSync(`${name}x`, ''))
  return {
    limit,
    made,
    tooLong,
    listed: readdirSync(directory).filter((one) => one.length === NAME_LIMIT).length,
  }
}

/** All that gets a mode when it is made, with masks that change in between. */
function modes(directory: string): unknown {
  const dir = openSync(directory, O_PATH | O_DIRECTORY)
  const seen: Record<string, string> = {}
  for (const mask of [0o000, 0o022, 0o077, 0o527]) {
    process.umask(mask)
    const name = `m${mask.toString(8)}`
    mknodAt(dir, `${name}-fifo`, S_IFIFO | 0o777, 0)
    mknodAt(dir, `${name}-socket`, S_IFSOCK | 0o666, 0)
    mknodAt(dir, `${name}-node`, S_IFREG | 0o640, 0)
    mkdirSync(join(directory, `${name}-directory`), { mode: 0o1777 })
    closeSync(openSync(join(directory, `${name}-file`), O_CREAT | O_EXCL | O_RDWR, 0o6777))
    const kinds = ['fifo', 'socket', 'node', 'directory', 'file']
    seen[mask.toString(8)] = kinds
      .map((kind) => (lstatSync(join(directory, `${name}-${kind}`)).mode & 0o7777).toString(8))
      .join(' ')
  }
  process.umask(0)
  closeSync(dir)
  return seen
}

/** Changes that copy a file of the layer, give it names and take some; its number stays. */
function numbers(directory: string): unknown {
  const file = join(directory, 'below')
  const sub = join(directory, 'sub')
  const [start, subStart] = [lstatSync(file).ino, lstatSync(sub).ino]
  const steps: string[] = []
  const step = (name: string, action: () => void, path: string, expected = start): void => {
    action()
    steps.push(`${name} ${lstatSync(path).ino === expected}`)
  }
  const [linked, renamed] = [join(directory, 'linked'), join(sub, 'renamed')]
  step('chmod', () => chmodSync(file, 0o600), file)
  step('link', () => linkSync(file, linked), linked)
  step('rename', () => renameSync(file, renamed), renamed)
  step('write', () => writeFileSync(linked, 'changed'), renamed)
  step('times', () => utimesSync(sub, 1, 1), sub, subStart)
  step('back', () => renameSync(renamed, file), file)
  const listed = listedNumbers(directory)
  const agree = [...listed].every(([name, ino]) => ino === lstatSync(join(directory, name)).ino)
  return { steps, agree, start }
}

function listedNumbers(directory: string): Map<string, number> {
  const fd = openSync(directory, O_RDONLY | O_DIRECTORY)
  const found = new Map<string, number>()
  for (let more = readEntries(fd, 4096); more.length > 0; more = readEntries(fd, 4096)) {
    for (const { name, ino } of more) if (name !== '.' && name !== '..') found.set(name, ino)
  }
  closeSync(fd)
  return found
}

/** What was opened before a change shows the change. */
function openBefore(directory: string): unknown {
  const file = join(directory, 'below')
  const reader = openSync(file, O_RDONLY)
  const before = contentOf(reader)
  writeFileSync(file, 'after!!!!!')
  const after = contentOf(reader)
  const mapped = readMapped(reader, 0, 5).toString()
  chmodSync(file, 0o604)
  const mode = (fstatSync(reader).mode & 0o777).toString(8)
  // One that is replaced is still there for who has it open.
  writeFileSync(join(directory, 'new'), 'new')
  renameSync(join(directory, 'new'), file)
  const replaced = { links: fstatSync(reader).nlink, content: contentOf(reader) }
  closeSync(reader)
  return { before, after, mapped, mode, replaced, now: readFileSync(file, 'utf8') }
}

/** The directory that a program is in goes. */
function goneDirectory(directory: string): unknown {
  const sub = join(directory, 'sub')
  process.chdir(sub)
  const open = openSync('.', O_RDONLY | O_DIRECTORY)
  unlinkSync('below')
  rmdirSync(sub)
  mkdirSync(sub)
  writeFileSync(join(sub, 'other'), '')
  const seen = {
    names: readdirSync('.').length,
    links: fstatSync(open).nlink,
    create: codeOf(() => writeFileSync('new', '')),
    up: codeOf(() => readdirSync('..')),
    below: existsSync(join(sub, 'below')),
  }
  closeSync(open)
  return seen
}

/** A pipe, a socket and locks with a name in the mount; programs of their own use them. */
function shell(directory: string): unknown {
  const script = `
    set -e
    cd '${directory}'
    mkfifo pipe
    (cat below; cat sub/below) > pipe & tr a-z A-Z < pipe; wait
    (flock -x 9; flock -n -x 8 && echo locked twice || echo locked) 9> lock 8> lock
    printf '%s\\n' c a b | sort -o sorted && cat sorted | tr '\\n' ' '
    cp -a sub copy && mv copy moved && rm -r moved && ls -d moved 2>/dev/null || echo removed`
  return execFileSync('sh', ['-c', script], { encoding: 'utf8', timeout: 20_000 }).split('\n')
}

const CASES: Readonly<Record<string, (directory: string) => unknown>> = {
  unlinkedNew: (directory) => unlinked(join(directory, 'new')),
  unlinkedBelow: (directory) => unlinked(join(directory, 'below')),
  unnamed,
  longPaths,
  longNames,
  modes,
  numbers,
  openBefore,
  goneDirectory,
  shell,
}

const [name = '', directory = ''] = process.argv.slice(2)
process.umask(0)
process.stdout.write(JSON.stringify(CASES[name]?.(directory)))
