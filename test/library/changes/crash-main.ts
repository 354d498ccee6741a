import {
  appendFileSync,
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { setTimeout } from 'node:timers'
import { FsError } from '../../../src/base/index.ts'
import { O_PATH, RENAME_EXCHANGE, renameAt } from '../../../src/sys/files/at.ts'
import { setxattrFd } from '../../../src/sys/files/xattr.ts'
import { readXattrs } from '../programs/native.ts'
import { Random } from '../trees/random.ts'
import { type CrashStep, HOLE, PAGE, pageBytes, randomStep, type SeenFile } from './crash.ts'
import { writeMapped } from './mapping.ts'

/**
 * The program of the crash test. `write DIRECTORY DIARY SEED FIRST GROWS` makes steps until the file system is gone, and
 * writes each down before and after, outside of it; `look DIRECTORY` tells what there is, as JSON.
 */

/** What programs get when the server of their file system is gone. */
const GONE = ['ENOTCONN', 'ECONNABORTED', 'ESHUTDOWN']

function bytesFrom(n: number, from: number, count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, (_, i) => pageBytes(n, from + i)))
}

function withFile<T>(name: string, flags: number, use: (fd: number) => T): T {
  const fd = openSync(name, flags)
  try {
    return use(fd)
  } finally {
    closeSync(fd)
  }
}

function make(n: number, step: CrashStep, grows: boolean): unknown {
  switch (step.call) {
    case 'write':
      return withFile(step.name, constants.O_WRONLY, (fd) => {
        const room = fstatSync(fd).size / PAGE - step.from
        const data = bytesFrom(n, step.from, grows ? step.count : Math.max(0, Math.min(step.count, room)))
        const written = writeSync(fd, data, 0, data.length, step.from * PAGE)
        if (written !== data.length) throw new FsError('EIO', `wrote ${written} of ${data.length} bytes`)
      })
    case 'map':
      return withFile(step.name, constants.O_RDWR, (fd) => {
        const count = Math.min(step.count, fstatSync(fd).size / PAGE - step.from)
        if (count > 0) writeMapped(fd, step.from * PAGE, bytesFrom(n, step.from, count), true)
      })
    case 'truncate':
      return truncateSync(step.name, step.pages * PAGE)
    case 'chmod':
      return chmodSync(step.name, step.mode)
    case 'create':
      return closeSync(openSync(step.name, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600))
    case 'mark':
      return withFile(step.name, O_PATH, (fd) => setxattrFd(fd, 'user.mark', Buffer.from(`${n}`), 'either'))
    case 'unlink':
      return unlinkSync(step.name)
    case 'fsync':
      return withFile(step.name, constants.O_WRONLY, fsyncSync)
    case 'link':
      return linkSync(step.name, step.other)
    case 'rename':
      return renameSync(step.name, step.other)
    case 'swap':
      return withFile('.', O_PATH, (fd) => renameAt(fd, step.name, fd, step.other, RENAME_EXCHANGE))
  }
}

function write(diary: string, seed: number, first: number, grows: boolean): void {
  const random = new Random(seed)
  for (let n = first; ; n += 1) {
    const step = randomStep(random, grows)
    appendFileSync(diary, `${JSON.stringify({ n, step })}\n`)
    let ok = true
    try {
      make(n, step, grows)
    } catch (error) {
      const { code } = error as { readonly code?: unknown }
      if (typeof code !== 'string') throw error
      if (GONE.includes(code)) return
      // A write to a file that was opened before the end, or the end while a page was written back.
      if (code === 'EIO' && isGone()) return
      ok = false
    }
    appendFileSync(diary, `${JSON.stringify({ n, ok })}\n`)
  }
}

function isGone(): boolean {
  try {
    lstatSync(`missing-${Math.random()}`, { throwIfNoEntry: false })
    return false
  } catch (error) {
    return GONE.includes((error as { readonly code: string }).code)
  }
}

function writerOf(page: Buffer, number: number): number {
  const [, writer] = /^step (\d+) page /.exec(page.toString('latin1', 0, 40)) ?? []
  if (writer === undefined) return page.every((byte) => byte === 0) ? HOLE : -1
  return page.equals(pageBytes(Number(writer), number)) ? Number(writer) : -1
}

function look(path: string): SeenFile {
  const { ino, mode, mtimeMs } = lstatSync(path)
  const content = readFileSync(path)
  const pages = Array.from({ length: Math.ceil(content.length / PAGE) }, (_, i) =>
    writerOf(content.subarray(i * PAGE, (i + 1) * PAGE), i),
  )
  const mark = readXattrs(Buffer.from(path))['user.mark']
  return {
    inode: `${ino}`,
    pages,
    mode: mode & 0o7777,
    mark: mark === undefined ? 0 : Number(Buffer.from(mark, 'hex').toString()),
    mtime: mtimeMs / 1000,
  }
}

function lookBelow(prefix: string, into: Record<string, SeenFile>): Record<string, SeenFile> {
  for (const entry of readdirSync(prefix === '' ? '.' : prefix, { withFileTypes: true })) {
    const path = prefix + entry.name
    if (entry.isDirectory()) lookBelow(`${path}/`, into)
    else into[path] = look(path)
  }
  return into
}

const [command, directory = '', diary = '', seed, first, grows] = process.argv.slice(2)
process.chdir(directory)
if (command === 'look') process.stdout.write(JSON.stringify(lookBelow('', {})))
else if (command === 'write') {
  // Nobody waits for ever, whatever happens to the mount.
  setTimeout(() => process.exit(3), 60_000).unref()
  write(diary, Number(seed), Number(first), grows === 'true')
} else throw new Error('usage: changes-crash-main write|look DIRECTORY …')
