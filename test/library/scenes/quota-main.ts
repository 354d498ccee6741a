import { createHash } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { ERRNO } from '../../../src/base/index.ts'
import { Random } from '../trees/random.ts'

/**
 * `STEP DIRECTORY UID [LIMIT]`: what a user with a quota does and sees, printed as JSON. The directory holds `below`,
 * `other` and `many/below`; the step `space` goes beyond LIMIT bytes, `names` makes names until no more are allowed, `room` makes room and
 * goes on.
 */

const [step = '', directory = '', uid = '', bytes = '0'] = process.argv.slice(2)
const CHUNK = 65_536
/** More names than any limit of these tests allows. */
const NAMES = 40_000

function codeOf(action: () => unknown): string {
  try {
    action()
    return 'ok'
  } catch (error) {
    const { code, errno } = error as { readonly code?: unknown; readonly errno?: unknown }
    // Node has no name for this one.
    return errno === -ERRNO.EDQUOT ? 'EDQUOT' : `${code}`
  }
}

/** Writes until that fails, or twice what is allowed; then syncs, or only closes. */
function fill(fd: number, end: 'fsync' | 'close'): Record<string, string> {
  const random = new Random(fd)
  let written = 0
  const write = codeOf(() => {
    for (; written < Number(bytes) * 2; written += writeSync(fd, random.bytes(CHUNK)));
  })
  if (end === 'close') return { write, close: codeOf(() => closeSync(fd)) }
  const fsync = codeOf(() => fsyncSync(fd))
  // Whether close says it again depends on the kernel.
  codeOf(() => closeSync(fd))
  return { write, fsync }
}

/** Makes names until it fails. */
function exhaust(prefix: string, make: (path: string) => void): string {
  for (let i = 0; i < NAMES; i += 1) {
    const code = codeOf(() => make(`many/${prefix}${i}`))
    if (code !== 'ok') return code
  }
  return 'no end'
}

/** All that is left of a file after it could not be copied. */
function stateOf(path: string): string {
  const { size, mode, uid: owner, mtimeMs } = statSync(path)
  const hash = createHash('sha256').update(readFileSync(path)).digest('hex')
  return [size, mode.toString(8), owner, mtimeMs, hash].join(' ')
}

function append(path: string): string {
  return codeOf(() => {
    const fd = openSync(path, 'a')
    try {
      writeSync(fd, 'x')
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
  })
}

const STEPS: Readonly<Record<string, () => unknown>> = {
  space: () => {
    writeFileSync('kept', new Random(1).bytes(10 * CHUNK))
    const fd = openSync('kept', 'r+')
    fsyncSync(fd)
    closeSync(fd)
    const before = ['kept', 'below'].map(stateOf)
    // Made while that is allowed.
    const [first, second] = [openSync('over-1', 'w'), openSync('over-2', 'w')]
    return {
      synced: fill(first, 'fsync'),
      closed: fill(second, 'close'),
      // Each of them needs the whole file.
      chmod: codeOf(() => chmodSync('below', 0o600)),
      rename: codeOf(() => renameSync('below', 'moved')),
      truncate: codeOf(() => truncateSync('below', (2 << 20) - 1)),
      append: append('other'),
      same: ['kept', 'below'].map(stateOf).join() === before.join(),
    }
  },
  names: () => ({
    mkdir: exhaust('d', (path) => mkdirSync(path)),
    create: exhaust('f', (path) => writeFileSync(path, '')),
    symlink: exhaust('s', (path) => symlinkSync('target', path)),
    chmod: codeOf(() => chmodSync('below', 0o600)),
    mode: (statSync('below').mode & 0o777).toString(8),
    // A whiteout, which belongs to the mount.
    remove: codeOf(() => rmSync('many/below')),
    isThere: readdirSync('many').includes('below'),
  }),
  state: () => ['below', 'other'].map(stateOf),
  room: () => {
    // What was made: to remove anything else takes a whiteout.
    const made = (names: readonly string[]): string[] => names.filter((name) => /\d$/.test(name))
    const remove = [...made(readdirSync('.')), ...made(readdirSync('many')).map((name) => `many/${name}`)]
    return {
      refused: remove.filter((path) => codeOf(() => rmSync(path, { recursive: true })) !== 'ok'),
      left: [...made(readdirSync('.')), ...made(readdirSync('many'))],
    }
  },
  again: () => ({
    append: append('other'),
    size: statSync('other').size,
    create: append('again'),
    mkdir: codeOf(() => mkdirSync('many/again')),
    truncate: codeOf(() => truncateSync('kept', CHUNK)),
  }),
}

process.chdir(directory)
process.setgroups?.([])
process.setgid?.(Number(uid))
process.setuid?.(Number(uid))
process.stdout.write(JSON.stringify(STEPS[step]?.()))
