import assert from 'node:assert/strict'
import fs from 'node:fs'
import { join } from 'node:path'
import {
  linkFd,
  openUnnamed,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  renameAt,
} from '../../../src/sys/files/at.ts'
import { codeOf, type Scenario, statusOf, withDirectory, withFile } from './scenario-tools.ts'

const { O_CREAT, O_EXCL, O_RDWR, O_WRONLY } = fs.constants

/** Making, renaming and removing names, and that what the kernel remembers of them is never out of date. */
export const nameScenarios: Readonly<Record<string, Scenario>> = {
  'negative entries end when the name is made': (directory) => {
    const makers: Record<string, (path: string) => void> = {
      file: (path) => fs.writeFileSync(path, 'x'),
      directory: (path) => fs.mkdirSync(path),
      symlink: (path) => fs.symlinkSync('goal', path),
      fifo: (path) => assert.equal(statusOf('mkfifo', path), 0),
      link: (path) => fs.linkSync(join(directory, 'file'), path),
      renamed: (path) => fs.renameSync(join(directory, 'link'), path),
    }
    for (const [name, make] of Object.entries(makers)) {
      const path = join(directory, name)
      assert.equal(
        codeOf(() => fs.lstatSync(path)),
        'ENOENT',
      )
      assert.equal(
        codeOf(() => fs.lstatSync(path)),
        'ENOENT',
      )
      make(path)
      assert.equal(fs.lstatSync(path).isDirectory(), name === 'directory')
    }
    assert.equal(
      codeOf(() => fs.lstatSync(join(directory, 'link'))),
      'ENOENT',
    )
  },

  'listings follow every change': (directory) => {
    const list = () => fs.readdirSync(directory).sort()
    for (let i = 0; i < 300; i++) {
      fs.writeFileSync(join(directory, `f${i}`), '')
      if (i % 50 === 0) assert.equal(list().length, i + 1)
    }
    assert.equal(list().length, 300)
    fs.renameSync(join(directory, 'f7'), join(directory, 'g7'))
    assert(list().includes('g7') && !list().includes('f7'))
    for (let i = 0; i < 300; i += 2) fs.unlinkSync(join(directory, `f${i}`))
    assert.equal(list().length, 150)
    fs.mkdirSync(join(directory, 'sub'))
    assert(list().includes('sub'))
    fs.rmdirSync(join(directory, 'sub'))
    assert(!list().includes('sub'))
  },

  'a name removed while a listing goes on': (directory) => {
    for (let i = 0; i < 2000; i++) fs.writeFileSync(join(directory, `n${i}`), '')
    const seen = new Set<string>()
    const listing = fs.opendirSync(directory, { bufferSize: 16 })
    for (let entry = listing.readSync(); entry !== null; entry = listing.readSync()) {
      seen.add(entry.name)
    }
    listing.closeSync()
    assert.equal(seen.size, 2000)
    for (const name of seen) fs.unlinkSync(join(directory, name))
    assert.deepEqual(fs.readdirSync(directory), [])
  },

  'link counts': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, 'x')
    const nlink = () => fs.statSync(file).nlink
    fs.linkSync(file, join(directory, 'second'))
    assert.equal(nlink(), 2)
    fs.linkSync(join(directory, 'second'), join(directory, 'third'))
    assert.equal(nlink(), 3)
    assert.equal(fs.statSync(join(directory, 'third')).ino, fs.statSync(file).ino)
    fs.unlinkSync(join(directory, 'second'))
    assert.equal(nlink(), 2)
    fs.writeFileSync(join(directory, 'other'), 'y')
    fs.renameSync(join(directory, 'other'), join(directory, 'third'))
    assert.equal(nlink(), 1)
    fs.mkdirSync(join(directory, 'sub'))
    const links = fs.statSync(directory).nlink
    fs.mkdirSync(join(directory, 'sub', 'deep'))
    assert.equal(fs.statSync(join(directory, 'sub')).nlink, 3)
    fs.renameSync(join(directory, 'sub', 'deep'), join(directory, 'up'))
    assert.equal(fs.statSync(join(directory, 'sub')).nlink, 2)
    assert.equal(fs.statSync(directory).nlink, links + 1)
  },

  'rename in all its forms': (directory) => {
    const path = (name: string) => join(directory, name)
    fs.writeFileSync(path('a'), 'A')
    fs.writeFileSync(path('b'), 'B')
    fs.mkdirSync(path('d'))
    withDirectory(directory, (fd) => {
      assert.equal(
        codeOf(() => renameAt(fd, 'a', fd, 'b', RENAME_NOREPLACE)),
        'EEXIST',
      )
      renameAt(fd, 'a', fd, 'b', RENAME_EXCHANGE)
      assert.equal(fs.readFileSync(path('a'), 'latin1'), 'B')
      assert.equal(fs.readFileSync(path('b'), 'latin1'), 'A')
      renameAt(fd, 'a', fd, 'd', RENAME_EXCHANGE)
      assert(fs.lstatSync(path('a')).isDirectory())
      assert.equal(fs.readFileSync(path('d'), 'latin1'), 'B')
      assert.equal(
        codeOf(() => renameAt(fd, 'a', fd, 'none', RENAME_EXCHANGE)),
        'ENOENT',
      )
      renameAt(fd, 'd', fd, 'none', RENAME_NOREPLACE)
    })
    fs.renameSync(path('none'), path('b'))
    assert.equal(fs.readFileSync(path('b'), 'latin1'), 'B')
    fs.mkdirSync(path('full'))
    fs.writeFileSync(path('full/x'), '')
    assert.equal(
      codeOf(() => fs.renameSync(path('a'), path('full'))),
      'ENOTEMPTY',
    )
    fs.renameSync(path('full'), path('a'))
    assert.deepEqual(fs.readdirSync(path('a')), ['x'])
    assert.equal(
      codeOf(() => fs.renameSync(path('b'), path('a'))),
      'EISDIR',
    )
    assert.equal(
      codeOf(() => fs.rmdirSync(path('a'))),
      'ENOTEMPTY',
    )
    assert.equal(
      codeOf(() => fs.renameSync(path('a'), path('a/below'))),
      'EINVAL',
    )
  },

  'a moved directory keeps what was known below it': (directory) => {
    fs.mkdirSync(join(directory, 'one/two/three'), { recursive: true })
    fs.writeFileSync(join(directory, 'one/two/three/file'), 'x')
    const { ino } = fs.statSync(join(directory, 'one/two/three/file'))
    withFile(join(directory, 'one/two/three/file'), O_RDWR, (fd) => {
      fs.renameSync(join(directory, 'one/two'), join(directory, 'moved'))
      fs.writeSync(fd, 'y', 0)
      assert.equal(fs.readFileSync(join(directory, 'moved/three/file'), 'latin1'), 'y')
    })
    assert.equal(fs.statSync(join(directory, 'moved/three/file')).ino, ino)
    assert.equal(
      codeOf(() => fs.statSync(join(directory, 'one/two'))),
      'ENOENT',
    )
    assert.equal(fs.realpathSync(join(directory, 'moved/three/../..')), fs.realpathSync(directory))
  },

  'odd and long names': (directory) => {
    const odd = Buffer.from(`${directory}/\xff\x01 "'\\\n`, 'latin1')
    fs.writeFileSync(odd, 'odd')
    assert.equal(fs.readFileSync(odd, 'latin1'), 'odd')
    const [listed] = fs.readdirSync(directory, { encoding: 'buffer' })
    assert.equal(listed?.toString('latin1'), odd.toString('latin1').slice(directory.length + 1))
    const long = join(directory, 'n'.repeat(255))
    fs.writeFileSync(long, 'long')
    fs.renameSync(long, `${long.slice(0, -1)}m`)
    assert.equal(
      codeOf(() => fs.writeFileSync(`${long}n`, '')),
      'ENAMETOOLONG',
    )
    assert.equal(
      codeOf(() => fs.mkdirSync(`${long}n`)),
      'ENAMETOOLONG',
    )
    const target = 't'.repeat(4095)
    fs.symlinkSync(target, join(directory, 'link'))
    assert.equal(fs.readlinkSync(join(directory, 'link')), target)
    assert.equal(fs.lstatSync(join(directory, 'link')).size, 4095)
  },

  'exclusive creation and modes under a umask': (directory) => {
    const file = join(directory, 'file')
    process.umask(0o027)
    withFile(file, O_CREAT | O_EXCL | O_WRONLY, () => {}, 0o666)
    assert.equal(fs.statSync(file).mode & 0o7777, 0o640)
    assert.equal(
      codeOf(() => fs.openSync(file, O_CREAT | O_EXCL | O_WRONLY)),
      'EEXIST',
    )
    assert.equal(
      codeOf(() => fs.mkdirSync(file)),
      'EEXIST',
    )
    fs.mkdirSync(join(directory, 'sub'), { mode: 0o777 })
    assert.equal(fs.statSync(join(directory, 'sub')).mode & 0o7777, 0o750)
    assert.equal(statusOf('mkfifo', join(directory, 'fifo')), 0)
    assert.equal(fs.statSync(join(directory, 'fifo')).mode & 0o7777, 0o640)
    process.umask(0)
    assert.equal(statusOf('mknod', '-m', '604', join(directory, 'null'), 'c', '1', '3'), 0)
    const { mode, rdev } = fs.statSync(join(directory, 'null'))
    assert.equal(mode, fs.constants.S_IFCHR | 0o604)
    assert.equal(rdev, (1 << 8) | 3)
  },

  'files without a name': (directory) => {
    withDirectory(directory, (dir) => {
      const fd = openUnnamed(dir, 0o640)
      assert.equal(fs.fstatSync(fd).nlink, 0)
      assert.deepEqual(fs.readdirSync(directory), [])
      fs.writeSync(fd, 'unnamed')
      linkFd(fd, dir, 'named')
      assert.equal(fs.fstatSync(fd).nlink, 1)
      fs.closeSync(fd)
      assert.equal(fs.readFileSync(join(directory, 'named'), 'latin1'), 'unnamed')
      assert.equal(fs.statSync(join(directory, 'named')).mode & 0o7777, 0o640)
      fs.closeSync(openUnnamed(dir, 0o600))
    })
    assert.deepEqual(fs.readdirSync(directory), ['named'])
  },

  'files that were removed while open': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, 'before')
    withFile(file, O_RDWR, (fd) => {
      fs.unlinkSync(file)
      assert.equal(fs.fstatSync(fd).nlink, 0)
      fs.writeSync(fd, 'after!', 0)
      fs.fchmodSync(fd, 0o600)
      fs.ftruncateSync(fd, 5)
      fs.futimesSync(fd, 1000, 2000)
      const { size, mode, mtimeMs } = fs.fstatSync(fd)
      assert.deepEqual([size, mode & 0o7777, mtimeMs], [5, 0o600, 2_000_000])
      // The name may be used again meanwhile.
      fs.writeFileSync(file, 'another')
      assert.equal(fs.readFileSync(`/proc/self/fd/${fd}`, 'latin1'), 'after')
      fs.fsyncSync(fd)
    })
    assert.equal(fs.readFileSync(file, 'latin1'), 'another')
    const sub = join(directory, 'sub')
    fs.mkdirSync(sub)
    withDirectory(sub, (fd) => {
      fs.rmdirSync(sub)
      assert.equal(fs.fstatSync(fd).nlink, 0)
      assert.equal(
        codeOf(() => fs.writeFileSync(`/proc/self/fd/${fd}/x`, '')),
        'ENOENT',
      )
    })
  },
}
