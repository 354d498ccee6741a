import {
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { sweepAllChanges } from '../../../src/daemon/runtime/changes.ts'
import { createEntry, type DaemonRecord, markMounted } from '../../../src/daemon/runtime/entries.ts'
import type { Folder } from '../../../src/sys/files/folder.ts'
import { tryLock } from '../../../src/sys/files/lock.ts'
import { namespaceNumber } from '../../../src/sys/plain/namespaces.ts'
import { ownIdentity } from '../../../src/sys/process/process.ts'
import { makeTempDir, removeTempDir } from '../../library/index.ts'

/** What a mount makes of the entries that daemons in other mount namespaces have left. */

const OTHER = '1'
const isRoot = process.geteuid?.() === 0

let runDir: string
let outer: string | undefined

beforeEach(() => {
  outer = process.env['ATOMFS_TEST_RUN_DIR']
  delete process.env['ATOMFS_TEST_RUN_DIR']
  runDir = makeTempDir()
})

afterEach(() => {
  if (outer !== undefined) process.env['ATOMFS_TEST_RUN_DIR'] = outer
  removeTempDir(runDir)
})

/**
 * An entry with temporary changes.
 * @param held gets the folders that its daemon holds; without it the daemon has ended
 * @returns its folder
 */
function makeEntry(namespace: string, state: DaemonRecord['state'], held?: Folder[]): string {
  const foreign = { ...ownIdentity(), pidNamespace: 1 }
  const config = {
    OCIDir: '',
    Tag: '/image',
    Target: '/mnt',
    AddWriteableOverlay: true,
    WriteableOverlayPath: '',
    AllowMissingVerityData: false,
    MetadataDir: runDir,
  }
  const made = createEntry(config, { process: foreign, state: 'starting' }, () => false)
  if (state === 'mounted') markMounted(made, '0:9')
  const folders: readonly Folder[] = Object.values(made.held)
  if (held === undefined) for (const folder of folders) folder.close()
  else held.push(...folders)
  mkdirSync(join(made.folder, 'changes/work'), { recursive: true })
  mkdirSync(join(made.folder, 'changes/upper'))
  writeFileSync(join(made.folder, 'changes/upper/file'), 'changed')
  const meta = join(runDir, 'meta')
  const own = String(namespaceNumber('mnt'))
  if (namespace !== own) renameSync(join(meta, own), join(meta, namespace))
  return join(meta, namespace, made.name)
}

const sweep = (): void => sweepAllChanges(runDir, () => undefined)
const isWhole = (entry: string): boolean => existsSync(join(entry, 'changes/upper/file'))

describe('entries of other mount namespaces', () => {
  test('an entry elsewhere and its temporary changes are removed when nobody uses the changes', () => {
    const entry = makeEntry(OTHER, 'mounted')
    sweep()
    expect(existsSync(entry)).toBe(false)
    expect(readdirSync(join(runDir, 'changes'))).toEqual([])
  })

  test('an entry elsewhere without changes is removed, too, also if its daemon was killed while it started', () => {
    for (const state of ['mounted', 'starting'] as const) {
      const entry = makeEntry(OTHER, state)
      rmSync(join(entry, 'changes'), { recursive: true })
      sweep()
      expect(existsSync(entry)).toBe(false)
    }
  })

  test.each(['mounted', 'starting'] as const)('an entry elsewhere stays while its daemon is %s', (state) => {
    const held: Folder[] = []
    const entry = makeEntry(OTHER, state, held)
    sweep()
    expect(isWhole(entry)).toBe(true)
    for (const folder of held) folder.close()
    sweep()
    expect(existsSync(entry)).toBe(false)
  })

  test('an entry elsewhere goes, and its changes stay, while something else has the lock of the changes', () => {
    const entry = makeEntry(OTHER, 'mounted')
    const fd = openSync(join(entry, 'changes/work'), 'r')
    expect(tryLock(fd, 'exclusive')).toBe(true)
    sweep()
    expect(existsSync(entry)).toBe(false)
    expect(readdirSync(join(runDir, 'changes'))).toHaveLength(1)
    closeSync(fd)
    sweep()
    expect(readdirSync(join(runDir, 'changes'))).toEqual([])
  })

  test('an entry in the own namespace stays for the next mount or unmount of its target', () => {
    const entry = makeEntry(String(namespaceNumber('mnt')), 'mounted')
    sweep()
    expect(isWhole(entry)).toBe(true)
  })

  test.skipIf(!isRoot)('an entry elsewhere stays if it is another user’s', () => {
    const entry = makeEntry(OTHER, 'mounted')
    chownSync(entry, 54_321, 54_321)
    sweep()
    expect(isWhole(entry)).toBe(true)
  })
})
