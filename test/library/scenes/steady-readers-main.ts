import { createHash, randomBytes } from 'node:crypto'
import { closeSync, constants, type Dir, fstatSync, opendirSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Reads a mount until its standard input ends: whole files past the page cache, and names that are nowhere, in directories
 * that stay open. Says in the end what went wrong. Arguments: the mount, and the files with their digests as JSON.
 */

const [, , root = '', list = '[]'] = process.argv
const files = JSON.parse(list) as readonly { readonly path: string; readonly sha256: string }[]
const folders = [...new Set(files.map(({ path }) => path.slice(0, path.lastIndexOf('/'))))]

interface Held {
  readonly folder: string
  readonly fd: number
  readonly dir: Dir
  readonly names: string[]
}

const counts = { reads: 0, looks: 0, refused: 0 }
const wrong: string[] = []

/** @returns false where it was EIO */
function attempt(what: string, action: () => void): boolean {
  try {
    action()
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EIO') counts.refused += 1
    else wrong.push(`${what}: ${code ?? String(error)}`)
    return false
  }
}

function readFile({ path, sha256 }: (typeof files)[number], fd: number): boolean {
  return attempt(path, () => {
    const bytes = Buffer.alloc(fstatSync(fd).size)
    let length = 0
    for (let n = 1; n > 0 && length < bytes.length; length += n) {
      n = readSync(fd, bytes, length, bytes.length - length, length)
    }
    counts.reads += 1
    if (createHash('sha256').update(bytes.subarray(0, length)).digest('hex') !== sha256)
      wrong.push(`${path}: other bytes`)
  })
}

function look({ folder, fd }: Held): void {
  attempt(folder, () => {
    const name = randomBytes(8).toString('hex')
    counts.looks += 1
    if (statSync(`/proc/self/fd/${fd}/${name}`, { throwIfNoEntry: false }) !== undefined)
      wrong.push(`${folder}/${name}`)
  })
}

function hold(folder: string): Held {
  const path = join(root, folder)
  const dir = opendirSync(path, { bufferSize: 1 })
  const first = dir.readSync()
  return { folder, fd: openSync(path, constants.O_DIRECTORY), dir, names: first === null ? [] : [first.name] }
}

const held = folders.map(hold)
const open = files.map((file) => ({ file, fd: openSync(join(root, file.path), constants.O_DIRECT) }))
let isOver = false
process.stdin.on('end', () => {
  isOver = true
})
process.stdin.resume()
process.stdout.write('ready\n')

function round(at: number): void {
  const one = open[at % open.length]
  const folder = held[at % held.length]
  if (one !== undefined) readFile(one.file, one.fd)
  if (folder !== undefined) look(folder)
  if (isOver) finish()
  else setImmediate(round, at + 1)
}

/** The last reads must succeed: nobody dies any more. */
function finish(): void {
  const { refused } = counts
  const again = open.every(({ file, fd }) => readFile(file, fd))
  for (const { dir, names } of held) {
    for (let entry = dir.readSync(); entry !== null; entry = dir.readSync()) names.push(entry.name)
    dir.closeSync()
  }
  for (const { fd } of [...open, ...held]) closeSync(fd)
  const listed = Object.fromEntries(held.map(({ folder, names }) => [folder, names.sort()]))
  process.stdout.write(JSON.stringify({ ...counts, refused, again, wrong, listed }))
  process.exit(0)
}

round(0)
