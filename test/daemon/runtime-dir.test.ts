import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeRunDir, runDirCandidates } from '../../src/daemon/run-dir.ts'
import {
  createEntry,
  type DaemonRecord,
  entryName,
  findEntry,
  type MoleculeConfig,
  markMounted,
  removeEntry,
} from '../../src/daemon/runtime-dir.ts'
import { namespaceNumber } from '../../src/sys/namespaces.ts'
import { ownIdentity } from '../../src/sys/process.ts'

let runDir: string
let outer: string | undefined

beforeEach(() => {
  outer = process.env['ATOMFS_TEST_RUN_DIR']
  delete process.env['ATOMFS_TEST_RUN_DIR']
  runDir = mkdtempSync(join(tmpdir(), 'atomfs-test-'))
})

afterEach(() => {
  if (outer !== undefined) process.env['ATOMFS_TEST_RUN_DIR'] = outer
  rmSync(runDir, { recursive: true })
})

const config = (Target: string): MoleculeConfig => ({
  OCIDir: '/images',
  Tag: 'web',
  Target,
  AddWriteableOverlay: false,
  WriteableOverlayPath: '',
  AllowMissingVerityData: false,
  MetadataDir: runDir,
})
const living = (): DaemonRecord => ({ process: ownIdentity(), state: 'starting' })
const dead = (): DaemonRecord => ({
  process: { ...ownIdentity(), startTime: 1 },
  state: 'mounted',
  device: '0:9',
})
const mounted = () => true
const notMounted = () => false

describe('runDirCandidates', () => {
  it('obeys the test variable, then --metadir', () => {
    expect(runDirCandidates('/m', { ATOMFS_TEST_RUN_DIR: '/t' })).toEqual(['/t'])
    expect(runDirCandidates('/m', {})).toEqual(['/m'])
  })

  it('falls back to the runtime folder of the user', () => {
    const candidates = runDirCandidates(undefined, { XDG_RUNTIME_DIR: '/run/user/7' })
    expect(candidates).toContain('/run/user/7/atomfs')
    expect(candidates[0]).toBe(process.geteuid?.() === 0 ? '/run/atomfs' : '/run/user/7/atomfs')
    expect(runDirCandidates(undefined, { XDG_RUNTIME_DIR: 'relative' }).join()).not.toContain('relative')
  })

  it('takes the first that can be made and names what was tried', () => {
    const good = join(runDir, 'a/b')
    writeFileSync(join(runDir, 'file'), '')
    expect(makeRunDir([join(runDir, 'file/x'), good])).toBe(good)
    expect(statSync(join(good, 'meta')).mode & 0o777).toBe(0o755)
    expect(() => makeRunDir([join(runDir, 'file/x')])).toThrow(/file\/x \(ENOTDIR\).*--metadir/)
  })
})

describe('entryName', () => {
  it('is the path with dashes', () => {
    expect(entryName('/var/lib/lxc/c1/rootfs')).toBe('var-lib-lxc-c1-rootfs')
  })

  it('stays a file name however long the path is', () => {
    for (const part of ['a', 'ü', '€', '😀']) {
      const long = `/${part.repeat(200)}/${part.repeat(500)}`
      const name = entryName(long)
      expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255)
      expect(Buffer.byteLength(name)).toBeGreaterThan(245)
      expect(name).not.toContain('\ufffd')
      expect(entryName(`${long}x`)).not.toBe(name)
      expect(entryName(long)).toBe(name)
    }
  })
})

describe('runtime entries', () => {
  it("has atomfs' place, config and mode", () => {
    const entry = createEntry(config('/mnt/x'), living(), notMounted)
    expect(entry.folder).toBe(join(runDir, 'meta', String(namespaceNumber('mnt')), 'mnt-x'))
    expect(statSync(entry.folder).mode & 0o777).toBe(0o755)
    expect(JSON.parse(readFileSync(join(entry.folder, 'config.json'), 'utf8'))).toEqual(config('/mnt/x'))
    expect(findEntry('/mnt/x', runDir)?.daemon?.process.pid).toBe(process.pid)
    expect(readdirSync(entry.folder).sort()).toEqual(['config.json', 'daemon.json'])
  })

  it('goes away without the folder of the mount namespace', () => {
    const entry = createEntry(config('/mnt/x'), living(), notMounted)
    removeEntry(entry)
    expect(existsSync(entry.folder)).toBe(false)
    expect(existsSync(join(entry.folder, '..'))).toBe(true)
    expect(findEntry('/mnt/x', runDir)).toBeUndefined()
  })

  it('refuses a target whose daemon starts or is mounted', () => {
    const entry = createEntry(config('/mnt/x'), living(), notMounted)
    expect(() => createEntry(config('/mnt/x'), living(), notMounted)).toThrow(
      expect.objectContaining({ code: 'EBUSY' }),
    )
    markMounted(entry, '0:77')
    expect(findEntry('/mnt/x', runDir)?.daemon).toMatchObject({ state: 'mounted', device: '0:77' })
    expect(() => createEntry(config('/mnt/x'), living(), mounted)).toThrow(
      expect.objectContaining({ code: 'EBUSY' }),
    )
  })

  it('replaces what a dead daemon, a draining one or half a write left', () => {
    createEntry(config('/mnt/x'), dead(), mounted)
    const second = createEntry(config('/mnt/x'), living(), mounted)
    expect(findEntry('/mnt/x', runDir)?.daemon?.process).toEqual(ownIdentity())
    markMounted(second, '0:77')
    const third = createEntry(config('/mnt/x'), living(), notMounted)
    writeFileSync(join(third.folder, 'config.json'), '{"Target":')
    expect(createEntry(config('/mnt/x'), living(), mounted).folder).toBe(third.folder)
    writeFileSync(join(third.folder, 'daemon.json'), '')
    expect(createEntry(config('/mnt/x'), living(), mounted).folder).toBe(third.folder)
  })

  it('leaves an entry alone that another daemon has made meanwhile', () => {
    const old = createEntry(config('/mnt/x'), dead(), mounted)
    const fresh = createEntry(config('/mnt/x'), living(), mounted)
    removeEntry(old)
    expect(existsSync(fresh.folder)).toBe(true)
  })

  it('keeps two targets of the same dashed name apart', () => {
    const one = createEntry(config('/mnt/a/b'), living(), notMounted)
    const other = createEntry(config('/mnt/a-b'), living(), notMounted)
    expect(other.folder).not.toBe(one.folder)
    expect(findEntry('/mnt/a/b', runDir)?.folder).toBe(one.folder)
    expect(findEntry('/mnt/a-b', runDir)?.folder).toBe(other.folder)
  })
})
