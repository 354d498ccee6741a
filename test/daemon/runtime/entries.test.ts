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
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
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
  test('the runtime folder is that of the test variable, then that of --metadir', () => {
    expect(runDirCandidates('/m', { ATOMFS_TEST_RUN_DIR: '/t' })).toEqual([{ path: '/t', named: true }])
    expect(runDirCandidates('/m', {})).toEqual([{ path: '/m', named: true }])
  })

  test('the runtime folder defaults to the runtime folder of the user', () => {
    const paths = (xdg: string) =>
      runDirCandidates(undefined, { XDG_RUNTIME_DIR: xdg }).map(({ path }) => path)
    expect(paths('/run/user/7')).toContain('/run/user/7/atomfs')
    expect(paths('/run/user/7')[0]).toBe(process.geteuid?.() === 0 ? '/run/atomfs' : '/run/user/7/atomfs')
    expect(paths('relative').join()).not.toContain('relative')
  })

  test('the runtime folder is the first candidate that can be made, and the error names the candidates', () => {
    const good = join(runDir, 'a/b')
    const bad = { path: join(runDir, 'file/x'), named: true }
    writeFileSync(join(runDir, 'file'), '')
    expect(makeRunDir([bad, { path: good, named: true }]).folder.path).toBe(good)
    expect(statSync(join(good, 'meta')).mode & 0o777).toBe(0o755)
    expect(() => makeRunDir([bad])).toThrow(/file\/x \(ENOTDIR\).*--metadir/)
  })

  test('a candidate for the runtime folder is passed over if others can write to it, or if it is a link or no folder', () => {
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

  test('the fallback in TMPDIR is a private folder that another user cannot take, and later calls find it', () => {
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
  test('the name of an entry is the target path with dashes', () => {
    expect(entryName('/var/lib/lxc/c1/rootfs')).toBe('var-lib-lxc-c1-rootfs')
  })

  test('the name of an entry fits a file name for a path of any length', () => {
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
  test('a runtime entry has the place, config and mode that atomfs gives it', () => {
    const entry = createEntry(config('/mnt/x'), living(), notMounted)
    expect(entry.folder).toBe(join(runDir, 'meta', String(namespaceNumber('mnt')), 'mnt-x'))
    expect(statSync(entry.folder).mode & 0o777).toBe(0o755)
    expect(JSON.parse(readFileSync(join(entry.folder, 'config.json'), 'utf8'))).toEqual(config('/mnt/x'))
    expect(findEntry('/mnt/x', runDir)?.daemon?.process.pid).toBe(process.pid)
    expect(readdirSync(entry.folder).sort()).toEqual(['config.json', 'daemon.json'])
  })

  test('removing a runtime entry keeps the folder of the mount namespace', () => {
    const entry = createEntry(config('/mnt/x'), living(), notMounted)
    removeOwnEntry(entry)
    expect(existsSync(entry.folder)).toBe(false)
    expect(existsSync(join(entry.folder, '..'))).toBe(true)
    expect(findEntry('/mnt/x', runDir)).toBeUndefined()
  })

  test('a second entry is refused if the daemon of the target starts or is mounted', () => {
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

  test('a new entry replaces that of a dead daemon, of a draining daemon or of a partial write', () => {
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

  test('a daemon does not remove an entry that another daemon has made meanwhile', () => {
    const old = createEntry(config('/mnt/x'), dead(), mounted)
    const fresh = createEntry(config('/mnt/x'), living(), mounted)
    removeOwnEntry(old)
    expect(existsSync(fresh.folder)).toBe(true)
  })

  test('two targets with the same dashed name have separate entries', () => {
    const one = createEntry(config('/mnt/a/b'), living(), notMounted)
    const other = createEntry(config('/mnt/a-b'), living(), notMounted)
    expect(other.folder).not.toBe(one.folder)
    expect(findEntry('/mnt/a/b', runDir)?.folder).toBe(one.folder)
    expect(findEntry('/mnt/a-b', runDir)?.folder).toBe(other.folder)
  })

  test('mounts on descriptors of the same number have entries of their own, and one that has ended is replaced', () => {
    const make = () => createEntry(config('/dev/fd/4'), living(), notMounted)
    const [first, second, third] = [make(), make(), make()]
    expect([first, second, third].map(({ name }) => name)).toEqual(['dev-fd-4', 'dev-fd-4-2', 'dev-fd-4-3'])
    // Killed: its folder stays, and nobody holds it.
    second.held.entry.close()
    expect(make().name).toBe('dev-fd-4-2')
    removeOwnEntry(first)
    expect(make().name).toBe('dev-fd-4')
    expect(existsSync(third.folder)).toBe(true)
  })

  test('for an equal dashed name, the mount of the existing entry is checked, not that of the new target', () => {
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

  test('no entry is left behind if the disk has no room for it', () => {
    const noRoom = {
      ...living(),
      toJSON: () => {
        throw Object.assign(new Error('no room'), { code: 'ENOSPC' })
      },
    }
    expect(() => createEntry(config('/mnt/x'), noRoom, notMounted)).toThrow(/ENOSPC.*make room.*--metadir/)
    expect(readdirSync(join(runDir, 'meta', String(namespaceNumber('mnt'))))).toEqual([])
  })

  test('an entry does not follow a link in the place of its files', () => {
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
