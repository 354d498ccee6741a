import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  createEntry,
  type DaemonRecord,
  findEntry,
  listEntries,
  type MoleculeConfig,
  markMounted,
  removeEntry,
  removeOwnEntry,
} from '../../../src/daemon/runtime/entries.ts'
import { entryName } from '../../../src/daemon/runtime/entry-name.ts'
import { makeRunDir, openRunDir, runDirCandidates } from '../../../src/daemon/runtime/folders.ts'
import { namespaceNumber } from '../../../src/sys/plain/namespaces.ts'
import { ownIdentity } from '../../../src/sys/process/process.ts'

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
    expect(runDirCandidates('/m', { ATOMFS_TEST_RUN_DIR: '/t' })).toEqual([{ path: '/t', named: true }])
    expect(runDirCandidates('/m', {})).toEqual([{ path: '/m', named: true }])
  })

  it('falls back to the runtime folder of the user', () => {
    const paths = (xdg: string) =>
      runDirCandidates(undefined, { XDG_RUNTIME_DIR: xdg }).map(({ path }) => path)
    expect(paths('/run/user/7')).toContain('/run/user/7/atomfs')
    expect(paths('/run/user/7')[0]).toBe(process.geteuid?.() === 0 ? '/run/atomfs' : '/run/user/7/atomfs')
    expect(paths('relative').join()).not.toContain('relative')
  })

  it('takes the first that can be made and names what was tried', () => {
    const good = join(runDir, 'a/b')
    const bad = { path: join(runDir, 'file/x'), named: true }
    writeFileSync(join(runDir, 'file'), '')
    expect(makeRunDir([bad, { path: good, named: true }]).folder.path).toBe(good)
    expect(statSync(join(good, 'meta')).mode & 0o777).toBe(0o755)
    expect(() => makeRunDir([bad])).toThrow(/file\/x \(ENOTDIR\).*--metadir/)
  })

  it('passes over what others can write to, is a link, or is not a folder', () => {
    for (const mode of [0o777, 0o775, 0o1777]) {
      mkdirSync(join(runDir, `open-${mode}`))
      chmodSync(join(runDir, `open-${mode}`), mode)
    }
    mkdirSync(join(runDir, 'elsewhere'))
    symlinkSync('elsewhere', join(runDir, 'link'))
    writeFileSync(join(runDir, 'file'), '')
    const good = join(runDir, 'good')
    const names = readdirSync(runDir).filter((name) => name !== 'elsewhere')
    const candidates = [...names.map((name) => join(runDir, name)), good].map((path) => ({
      path,
      named: false,
    }))
    for (const candidate of candidates) expect(openRunDir(candidate)).toBeUndefined()
    expect(makeRunDir(candidates).folder.path).toBe(good)
    expect(readdirSync(join(runDir, 'elsewhere'))).toEqual([])
  })

  it('has a last resort that nobody can take, and finds it again', () => {
    const before = process.env['TMPDIR']
    process.env['TMPDIR'] = runDir
    try {
      const own = `atomfs-${process.geteuid?.()}`
      // What a stranger could have prepared: the old name, and one of the new ones open to everybody.
      mkdirSync(join(runDir, own))
      mkdirSync(join(runDir, `${own}-a`))
      chmodSync(join(runDir, `${own}-a`), 0o777)
      const made = makeRunDir([])
      expect(made.folder.path).toMatch(new RegExp(`^${runDir}/${own}-.{6}$`))
      expect(statSync(made.folder.path).mode & 0o777).toBe(0o700)
      const candidates = runDirCandidates(undefined, { XDG_RUNTIME_DIR: join(runDir, 'none') })
      expect(candidates).toContainEqual({ path: made.folder.path, named: false })
      expect(openRunDir({ path: join(runDir, `${own}-a`), named: false })).toBeUndefined()
    } finally {
      if (before === undefined) delete process.env['TMPDIR']
      else process.env['TMPDIR'] = before
    }
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
    removeOwnEntry(entry)
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
    removeOwnEntry(old)
    expect(existsSync(fresh.folder)).toBe(true)
  })

  it('keeps two targets of the same dashed name apart', () => {
    const one = createEntry(config('/mnt/a/b'), living(), notMounted)
    const other = createEntry(config('/mnt/a-b'), living(), notMounted)
    expect(other.folder).not.toBe(one.folder)
    expect(findEntry('/mnt/a/b', runDir)?.folder).toBe(one.folder)
    expect(findEntry('/mnt/a-b', runDir)?.folder).toBe(other.folder)
  })

  it('asks about the mount of the entry, not about the new target, where names are equal', () => {
    markMounted(createEntry(config('/mnt/a/b'), living(), notMounted), '0:77')
    createEntry(config('/mnt/a-b'), living(), (entry) => entry.config.Target === '/mnt/a/b')
    expect(
      listEntries(runDir)
        .map((entry) => entry.config.Target)
        .sort(),
    ).toEqual(['/mnt/a-b', '/mnt/a/b'])
    removeEntry(findEntry('/mnt/a/b', runDir)!)
    expect(listEntries(runDir).map((entry) => entry.config.Target)).toEqual(['/mnt/a-b'])
  })

  it('leaves nothing where there is no room for it', () => {
    const noRoom = {
      ...living(),
      toJSON: () => {
        throw Object.assign(new Error('no room'), { code: 'ENOSPC' })
      },
    }
    expect(() => createEntry(config('/mnt/x'), noRoom, notMounted)).toThrow(/ENOSPC.*make room.*--metadir/)
    expect(readdirSync(join(runDir, 'meta', String(namespaceNumber('mnt'))))).toEqual([])
  })

  it('follows no link that stands in the place of a file or a folder', () => {
    const victim = join(runDir, 'victim')
    writeFileSync(victim, 'safe')
    const entry = createEntry(config('/mnt/x'), living(), notMounted)
    for (const name of ['daemon.json', 'daemon.json.new', 'config.json']) {
      rmSync(join(entry.folder, name), { force: true })
      symlinkSync(victim, join(entry.folder, name))
    }
    markMounted(entry, '0:77')
    expect(readFileSync(victim, 'utf8')).toBe('safe')
    expect(findEntry('/mnt/x', runDir)).toBeUndefined()
  })
})
