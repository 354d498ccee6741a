import assert from 'node:assert/strict'
import fs from 'node:fs'
import { join } from 'node:path'
import { addressOf } from '../../../src/sys/ffi/ffi.ts'
import { copyRange, fallocateFd, seekFd } from '../../../src/sys/files/file-io.ts'
import {
  codeOf,
  Mapping,
  pattern,
  type Scenario,
  statusOf,
  withDirectory,
  withFile,
} from './scenario-tools.ts'

const { O_APPEND, O_CREAT, O_DIRECT, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = fs.constants
const MIB = 1 << 20
const [KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE] = [1, 2, 16]

/** Data, holes, mappings and times. */
export const dataScenarios: Readonly<Record<string, Scenario>> = {
  'writes of all sizes at all places': (directory) => {
    const file = join(directory, 'file')
    const expected = Buffer.alloc(5 * MIB)
    withFile(file, O_CREAT | O_RDWR, (fd) => {
      for (const [offset, length] of [
        [0, 1],
        [4095, 2],
        [100, 100_000],
        [MIB - 7, MIB + 14],
        [2 * MIB + 1, 3 * MIB - 1],
        [12_288, 4096],
      ] as const) {
        const data = pattern(length, offset)
        assert.equal(fs.writeSync(fd, data, 0, length, offset), length)
        data.copy(expected, offset)
      }
      assert.equal(fs.fstatSync(fd).size, 5 * MIB)
    })
    assert(fs.readFileSync(file).equals(expected))
  },

  'append and truncate': (directory) => {
    const file = join(directory, 'file')
    withFile(file, O_CREAT | O_WRONLY | O_APPEND, (one) => {
      withFile(file, O_WRONLY | O_APPEND, (two) => {
        for (let i = 0; i < 10; i++) fs.writeSync(i % 2 === 0 ? one : two, `${i}`)
      })
    })
    assert.equal(fs.readFileSync(file, 'latin1'), '0123456789')
    fs.truncateSync(file, 4)
    assert.equal(fs.readFileSync(file, 'latin1'), '0123')
    fs.truncateSync(file, 6)
    assert.equal(fs.readFileSync(file, 'latin1'), '0123\0\0')
    withFile(file, O_WRONLY | O_TRUNC, (fd) => assert.equal(fs.fstatSync(fd).size, 0))
    assert.equal(fs.statSync(file).size, 0)
    const code = codeOf(() => fs.truncateSync(file, 2 ** 53 - 1))
    assert(code === 'EFBIG' || code === 'EINVAL' || code === 'success', code)
  },

  'shared mappings and write(2) see each other': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, pattern(3 * 4096 + 100, 1))
    const mapping = new Mapping(file, 3 * 4096 + 100)
    mapping.write(5000, Buffer.from('mapped'))
    withFile(file, O_RDWR, (fd) => {
      const read = Buffer.alloc(6)
      fs.readSync(fd, read, 0, 6, 5000)
      assert.equal(read.toString(), 'mapped')
      fs.writeSync(fd, Buffer.from('written'), 0, 7, 9000)
    })
    assert.equal(mapping.read(9000, 7).toString(), 'written')
    mapping.sync()
    mapping.write(12_300, Buffer.from('late'))
    mapping.close()
    const content = fs.readFileSync(file)
    assert.equal(content.toString('latin1', 5000, 5006), 'mapped')
    assert.equal(content.toString('latin1', 12_300, 12_304), 'late')
    assert.equal(content.length, 3 * 4096 + 100)
  },

  'direct writes and reads beside the page cache': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, pattern(2 * MIB, 3))
    // Direct I/O wants memory that begins at a page.
    const room = new Uint8Array(MIB + 4096)
    const memory = room.subarray(4096 - (addressOf(room) % 4096))
    const data = pattern(MIB, 4)
    memory.set(data)
    withFile(file, O_RDWR | O_DIRECT, (fd) => {
      assert.equal(fs.writeSync(fd, memory, 0, MIB, 4096), MIB)
      memory.fill(0)
      assert.equal(fs.readSync(fd, memory, 0, MIB, 4096), MIB)
    })
    assert(Buffer.from(memory.subarray(0, MIB)).equals(data))
    const content = fs.readFileSync(file)
    assert(content.subarray(4096, MIB + 4096).equals(data))
    assert(content.subarray(0, 4096).equals(pattern(2 * MIB, 3).subarray(0, 4096)))
  },

  'fallocate and holes': (directory) => {
    const file = join(directory, 'file')
    withFile(file, O_CREAT | O_RDWR, (fd) => {
      fallocateFd(fd, 0, 0, 100_000)
      assert.equal(fs.fstatSync(fd).size, 100_000)
      fallocateFd(fd, KEEP_SIZE, 0, 200_000)
      assert.equal(fs.fstatSync(fd).size, 100_000)
      const data = pattern(98_304, 5)
      fs.writeSync(fd, data, 0, data.length, 0)
      fallocateFd(fd, PUNCH_HOLE | KEEP_SIZE, 8192, 16_384)
      const read = Buffer.alloc(98_304)
      fs.readSync(fd, read, 0, read.length, 0)
      data.fill(0, 8192, 24_576)
      assert(read.equals(data))
      fs.fsyncSync(fd)
      fs.fdatasyncSync(fd)
      // With the write-back cache all is data.
      const hole = seekFd(fd, 0, 'hole')
      assert(hole === 8192 || hole === 100_000, `${hole}`)
      assert.equal(seekFd(fd, 8192, 'data'), hole === 8192 ? 24_576 : 8192)
      assert.equal(seekFd(fd, 2 ** 40, 'data'), undefined)
      // A mode that no file system of Linux has.
      assert.equal(
        codeOf(() => fallocateFd(fd, ZERO_RANGE | PUNCH_HOLE, 0, 4096)),
        'EOPNOTSUPP',
      )
      assert.equal(
        codeOf(() => fallocateFd(fd, 0, 0, 0)),
        'EINVAL',
      )
    })
    withDirectory(directory, (fd) => fs.fsyncSync(fd))
  },

  copy_file_range: (directory) => {
    const [from, to] = [join(directory, 'from'), join(directory, 'to')]
    const data = pattern(40 * MIB, 6)
    fs.writeFileSync(from, data)
    withFile(from, O_RDONLY, (source) =>
      withFile(to, O_CREAT | O_RDWR, (target) => {
        let done = 0
        for (;;) {
          const count = copyRange(source, done, target, 10 + done, data.length)
          if (count === 0) break
          done += count
        }
        assert.equal(done, data.length)
        assert.equal(copyRange(source, data.length + 5, target, 0, 100), 0)
      }),
    )
    const copy = fs.readFileSync(to)
    assert.equal(copy.length, data.length + 10)
    assert(copy.subarray(10).equals(data))
  },

  'times to the nanosecond, and before 1970': (directory) => {
    const file = join(directory, 'file')
    fs.writeFileSync(file, '')
    const { ctimeNs } = fs.statSync(file, { bigint: true })
    assert.equal(statusOf('touch', '-m', '-d', '@-1234567890.123456789', file), 0)
    assert.equal(statusOf('touch', '-a', '-d', '@4102444800.987654321', file), 0)
    const stat = fs.statSync(file, { bigint: true })
    assert.equal(stat.mtimeNs, -1234567890123456789n)
    assert.equal(stat.atimeNs, 4102444800987654321n)
    assert(stat.ctimeNs > ctimeNs)
    const before = Date.now() - 5000
    assert.equal(statusOf('touch', file), 0)
    assert(fs.statSync(file).mtimeMs > before)
    const { mtimeNs } = fs.statSync(directory, { bigint: true })
    fs.writeFileSync(join(directory, 'new'), '')
    assert(fs.statSync(directory, { bigint: true }).mtimeNs > mtimeNs)
  },
}
