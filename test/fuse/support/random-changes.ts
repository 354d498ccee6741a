import assert from 'node:assert/strict'
import fs from 'node:fs'
import { dirname, join } from 'node:path'
import { Random } from '../../library/trees/random.ts'
import type { Scenario } from './scenario-tools.ts'

const SEED = 20
const STEPS = 6000

/** Few names in few directories, so that the changes meet. */
function placesIn(directory: string): { readonly directories: string[]; readonly paths: string[] } {
  const directories = [directory, ...['d0', 'd1', 'd2'].map((name) => join(directory, name))]
  const names = Array.from({ length: 12 }, (_, i) => `n${i}`)
  return { directories, paths: directories.flatMap((one) => names.map((name) => join(one, name))) }
}

type Change = (random: Random, path: string, other: string) => void

const CHANGES: readonly Change[] = [
  (random, path) => fs.writeFileSync(path, random.bytes(random.int(0, 9000))),
  (_, path) => fs.unlinkSync(path),
  (_, path, other) => fs.renameSync(path, other),
  (_, path, other) => fs.linkSync(path, other),
  (_, path) => fs.mkdirSync(path),
  (_, path) => fs.rmdirSync(path),
  (random, path) => fs.symlinkSync('t'.repeat(random.int(1, 50)), path),
  (_, path) => {
    for (const name of fs.readdirSync(dirname(path))) fs.lstatSync(join(dirname(path), name))
  },
  (_, path) => fs.lstatSync(path),
  (random, path) => fs.chmodSync(path, random.int(0, 0o7777)),
  (random, path) => fs.truncateSync(path, random.int(0, 20_000)),
  (random, path) => fs.appendFileSync(path, random.bytes(random.int(1, 5000))),
  (random, path) => fs.lchownSync(path, random.int(0, 4), random.int(0, 4)),
  (_, path) => fs.readFileSync(path),
]

/** Everything that shows of a tree but times; the change time of data in the write-back cache is not the server's. */
function snapshot(directory: string): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const name of fs.readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()) {
    const path = join(directory, name)
    const { ino, mode, nlink, uid, gid, size, rdev } = fs.lstatSync(path)
    const isLink = (mode & fs.constants.S_IFMT) === fs.constants.S_IFLNK
    const isFile = (mode & fs.constants.S_IFMT) === fs.constants.S_IFREG
    const content = isLink ? fs.readlinkSync(path) : isFile ? fs.readFileSync(path, 'latin1') : ''
    found[name] = { ino, mode, nlink, uid, gid, size, rdev, content }
  }
  return found
}

/** What the kernel remembers must be what the server has: that is why it may remember for ever. */
export const randomScenarios: Readonly<Record<string, Scenario>> = {
  'nothing that the kernel remembers is out of date after random changes': (directory) => {
    const random = new Random(SEED)
    const { directories, paths } = placesIn(directory)
    for (const one of directories.slice(1)) fs.mkdirSync(one)
    let failures = 0
    for (let step = 0; step < STEPS; step++) {
      try {
        random.pick(CHANGES)(random, random.pick(paths), random.pick(paths))
      } catch (error) {
        if (!(error instanceof Error && 'code' in error)) throw error
        assert(!['EIO', 'ESTALE', 'ENOSYS'].includes(String(error.code)), `step ${step}: ${error.message}`)
        failures++
      }
    }
    assert(failures > STEPS / 10 && failures < (STEPS * 9) / 10, `${failures} of ${STEPS} failed`)
    const remembered = snapshot(directory)
    for (const path of Object.keys(remembered)) {
      if (fs.lstatSync(join(directory, path)).isFile()) {
        const fd = fs.openSync(join(directory, path), 'r')
        fs.fsyncSync(fd)
        fs.closeSync(fd)
      }
    }
    fs.writeFileSync('/proc/sys/vm/drop_caches', '3')
    assert.deepEqual(snapshot(directory), remembered)
  },
}
