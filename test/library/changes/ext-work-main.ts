import fs from 'node:fs'
import { join } from 'node:path'
import { setXattr } from '../programs/native.ts'
import { Random } from '../trees/random.ts'

/**
 * Works in a directory and stops at an instruction: `DIRECTORY SEED` as arguments; each line of its input asks for a batch
 * of changes, of which all but the last are synced. It answers each with a line.
 */

const [root = '', seed = '1'] = process.argv.slice(2)
const random = new Random(Number(seed))
/** Looks like a block of the journal: a block of data that begins so is escaped there. */
const MAGIC = Buffer.from([0xc0, 0x3b, 0x39, 0x98, 0, 0, 0, 1])
let names = 0

function entries(folder: string): string[] {
  return fs.readdirSync(join(root, folder)).map((name) => join(folder, name))
}

function folders(): string[] {
  return ['.', ...entries('.').filter((path) => fs.lstatSync(join(root, path)).isDirectory())]
}

function pick(kind: 'isFile' | 'isDirectory'): string | undefined {
  const all = entries(random.pick(folders())).filter((path) => fs.lstatSync(join(root, path))[kind]())
  return all.length === 0 ? undefined : join(root, random.pick(all))
}

function fresh(): string {
  names += 1
  return join(
    root,
    random.pick(folders()),
    `${random.text(random.int(1, 40)).toString('latin1').replace(/\W/g, '_')}-${names}`,
  )
}

const CHANGES: readonly (() => void)[] = [
  () => fs.writeFileSync(fresh(), random.bytes(random.int(0, 20_000))),
  () => fs.writeFileSync(fresh(), random.bytes(random.int(0, 200))),
  () => fs.writeFileSync(fresh(), Buffer.concat([MAGIC, random.bytes(8000)])),
  () => fs.mkdirSync(fresh()),
  () => fs.symlinkSync('x'.repeat(random.int(1, 200)), fresh()),
  () => {
    const file = pick('isFile')
    if (file !== undefined) fs.rmSync(file)
  },
  () => {
    const file = pick('isFile')
    if (file !== undefined) fs.renameSync(file, fresh())
  },
  () => {
    const file = pick('isFile')
    if (file !== undefined) fs.linkSync(file, fresh())
  },
  () => {
    const file = pick('isFile')
    if (file !== undefined) fs.truncateSync(file, random.int(0, 50_000))
  },
  () => {
    const file = pick('isFile')
    if (file !== undefined) fs.appendFileSync(file, random.bytes(random.int(1, 9000)))
  },
  () => {
    const file = pick('isFile')
    if (file !== undefined)
      setXattr(Buffer.from(file), `user.n${random.int(0, 5)}`, random.bytes(random.int(0, 300)))
  },
  () => {
    const folder = pick('isDirectory')
    // Its blocks are given up, and may become blocks of data: the journal revokes them.
    if (folder !== undefined) fs.rmSync(folder, { recursive: true })
  },
]

function change(): void {
  try {
    random.pick(CHANGES)()
  } catch (error) {
    // A full file system, or attributes that fill their block.
    const { code, message } = error as NodeJS.ErrnoException
    if (message.startsWith('lsetxattr') && message.endsWith('errno 28')) return
    if (code !== 'ENOSPC' && code !== 'EMLINK') throw error
    for (const path of entries('.')) fs.rmSync(join(root, path), { recursive: true, force: true })
  }
}

function sync(path: string): void {
  const fd = fs.openSync(path, 'r')
  fs.fsyncSync(fd)
  fs.closeSync(fd)
}

process.stdin.setEncoding('utf8')
process.stdin.on('data', (text: string) => {
  for (let i = 0; i < text.split('\n').length - 1; i++) {
    for (let batch = random.int(1, 4); batch > 0; batch--) {
      for (let left = random.int(5, 60); left > 0; left--) change()
      sync(root)
    }
    for (let left = random.int(0, 30); left > 0; left--) change()
    process.stdout.write('done\n')
  }
})
