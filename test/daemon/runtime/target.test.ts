import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LogFile, limitLog } from '../../../src/daemon/life/log.ts'
import { placeIn } from '../../../src/daemon/life/log-sink.ts'
import { canonicalTarget, prepareTarget } from '../../../src/daemon/runtime/target.ts'
import { Folder } from '../../../src/sys/files/folder.ts'
import { parseMountInfo } from '../../../src/sys/mounts/mountinfo.ts'
import { descriptorOf } from '../../../src/sys/plain/proc.ts'

let folder: string

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'atomfs-test-')))
})

afterEach(() => rmSync(folder, { recursive: true }))

describe('canonicalTarget', () => {
  test('canonicalTarget resolves links and .. as the kernel does', () => {
    mkdirSync(join(folder, 'a/b'), { recursive: true })
    symlinkSync('a/b', join(folder, 'link'))
    symlinkSync('link', join(folder, 'link2'))
    for (const name of ['a/b', 'link', 'link2', 'link2/', 'a/./b', 'link/../b', 'link/../../a/b', 'a/b/.']) {
      expect(canonicalTarget(`${folder}/${name}`, []), name).toBe(join(folder, 'a/b'))
    }
    expect(canonicalTarget(`${folder}/link/..`, [])).toBe(join(folder, 'a'))
    expect(canonicalTarget('/', [])).toBe('/')
  })

  test('canonicalTarget does not follow a name that is a mount point', () => {
    symlinkSync('elsewhere', join(folder, 'link'))
    const mounts = parseMountInfo(`9 1 0:5 / ${folder}/link rw - fuse.atomfs-fuse x rw\n`)
    expect(canonicalTarget(`${folder}/link`, mounts)).toBe(`${folder}/link`)
  })

  test('canonicalTarget refuses a loop of links and a missing folder', () => {
    symlinkSync('round', join(folder, 'round'))
    expect(() => canonicalTarget(`${folder}/round`, [])).toThrow(expect.objectContaining({ code: 'ELOOP' }))
    expect(() => canonicalTarget(`${folder}/no/x`, [])).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  })
})

describe('prepareTarget', () => {
  test('prepareTarget refuses a target that covers the image, also through links, and accepts one beside it', async () => {
    mkdirSync(join(folder, 'store/blobs'), { recursive: true })
    mkdirSync(join(folder, 'store2'))
    symlinkSync(join(folder, 'store/blobs'), join(folder, 'blobs'))
    const image = join(folder, 'blobs')
    for (const target of [folder, join(folder, 'store'), join(folder, 'store/blobs')]) {
      await expect(prepareTarget(target, [image])).rejects.toMatchObject({ code: 'EINVAL' })
    }
    await prepareTarget(join(folder, 'store2'), [image, join(folder, 'store')])
  })
})

describe('descriptorOf', () => {
  test('descriptorOf recognizes both names of a descriptor', () => {
    expect(
      ['/dev/fd/3', '/proc/self/fd/12', '/dev/fd/x', '/proc/1/fd/3', 'dev/fd/3'].map(descriptorOf),
    ).toEqual([3, 12, undefined, undefined, undefined])
  })
})

describe('LogFile', () => {
  test('the log file keeps early lines, leaves out lines below the level, and stays bounded', () => {
    const path = join(folder, 'log')
    const file = new LogFile()
    const log = limitLog('info', file.log)
    log('info', 'early\nline')
    log('debug', 'hidden')
    file.open(placeIn(Folder.open(folder, { guarded: false }), 'log'))
    log('error', 'late')
    expect(readFileSync(path, 'utf8')).toMatch(/^\S+Z info: early\\nline\n\S+Z error: late\n$/)
    for (let i = 0; i < 40; i++) file.log('warn', 'x'.repeat(100_000))
    expect(readFileSync(path).length).toBeLessThan(2 ** 20 + 200_000)
    expect(readFileSync(`${path}.1`).length).toBeLessThan(2 ** 20 + 200_000)
  })
})
