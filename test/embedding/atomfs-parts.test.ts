import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  atomsPath,
  buildMoleculeFromOci,
  ensureDir,
  FsError,
  getMountNamespaceName,
  inspectSource,
  type MountOciOptions,
  mountStatus,
  OVERLAY_MOUNT_OPTIONS,
  pathExists,
  replacePathSeparators,
  runtimeDir,
  TEST_OVERRIDE_RUNTIME_DIR_KEY,
  UsageError,
  umount,
  verifySource,
  writeToFile,
} from '../../src/index.ts'
import { parseOverlayOptions } from '../../src/request/overlay-options.ts'
import { makeTempDir, removeTempDir } from '../library/index.ts'

const OCI = path.resolve(import.meta.dirname, '../../fixtures/oci')

let folder = ''
let outer: string | undefined

beforeEach(() => {
  outer = process.env[TEST_OVERRIDE_RUNTIME_DIR_KEY]
  delete process.env[TEST_OVERRIDE_RUNTIME_DIR_KEY]
  folder = makeTempDir()
})

afterEach(() => {
  if (outer === undefined) delete process.env[TEST_OVERRIDE_RUNTIME_DIR_KEY]
  else process.env[TEST_OVERRIDE_RUNTIME_DIR_KEY] = outer
  removeTempDir(folder)
})

function codeOf(action: () => unknown): string | undefined {
  try {
    action()
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
  return undefined
}

describe('a molecule', () => {
  test('a molecule has its atoms topmost first, as the manifest describes them', () => {
    const molecule = buildMoleculeFromOci({ ociDir: OCI, tag: 'demo', target: folder })
    expect(molecule.atoms.map((atom) => atom.digest)).toEqual(
      molecule.layers.map((layer) => layer.label).reverse(),
    )
    expect(molecule.layers.at(-1)?.size).toBe(molecule.atoms[0]?.size)
    for (const atom of molecule.atoms) {
      expect(atom.annotations['io.stackeroci.stacker.atomfs_verity_root_hash']).toMatch(/^[0-9a-f]{64}$/)
      const blob = atomsPath({ ociDir: OCI }, atom.digest.replace('sha256:', ''))
      expect(fs.statSync(blob).size).toBe(atom.size)
    }
  })

  test('a molecule names the place of its runtime data', () => {
    const target = path.join(folder, 'a/b')
    fs.mkdirSync(target, { recursive: true })
    const real = fs.realpathSync(target)
    const metadataDir = path.join(folder, 'run')
    const molecule = buildMoleculeFromOci({ ociDir: OCI, tag: 'demo', target, metadataDir })
    const expected = path.join(metadataDir, 'meta', getMountNamespaceName(), replacePathSeparators(real))
    expect(molecule.metadataPath()).toBe(expected)
    expect(molecule.mountedAtomsPath()).toBe(path.join(expected, 'mounts'))
    expect(molecule.mountedAtomsPath('x', 'y')).toBe(path.join(expected, 'mounts/x/y'))
    expect(fs.existsSync(metadataDir)).toBe(false)
  })

  test('a molecule is the tag of its directory, although OCIDIR:TAG can be read in another way', () => {
    const layout = path.join(folder, 'img')
    fs.cpSync(OCI, layout, { recursive: true })
    fs.cpSync(OCI, `${layout}:b`, { recursive: true })
    const index = path.join(layout, 'index.json')
    fs.writeFileSync(index, fs.readFileSync(index, 'utf8').replace('"demo"', '"b:demo"'))
    // The other reading, the tag `demo` of `img:b`, would fail.
    fs.rmSync(path.join(`${layout}:b`, 'blobs'), { recursive: true })
    const molecule = buildMoleculeFromOci({ ociDir: layout, tag: 'b:demo', target: folder })
    expect(molecule.atoms.length).toBe(3)
    expect(molecule.layers.length).toBe(3)
    expect(codeOf(() => buildMoleculeFromOci({ ociDir: `${layout}:b`, tag: 'demo', target: folder }))).toBe(
      'ENOENT',
    )
  })
})

describe('what is no path', () => {
  // As a program in JavaScript may give it, or one whose variable is not set.
  const none = undefined as unknown as string
  const options = { ociDir: OCI, tag: 'demo', target: '/t' }

  test.each(['ociDir', 'tag', 'target'] as const)('a molecule without %s is refused by its name', (name) => {
    const wrong: MountOciOptions = { ...options, [name]: none }
    expect(() => buildMoleculeFromOci(wrong)).toThrow(`${name} must be text, and it is undefined`)
    expect(() => buildMoleculeFromOci({ ...options, [name]: 'a\0b' })).toThrow(`${name} contains a NUL`)
  })

  test('calls that take a path refuse what is none', async () => {
    const refused = expect.objectContaining({ name: 'UsageError', code: 'EINVAL' })
    const molecule = buildMoleculeFromOci(options)
    for (const call of [
      () => molecule.mount(null as unknown as string),
      () => umount(none),
      () => umount('/t', 1 as unknown as string),
      () => mountStatus(none),
      () => verifySource({ source: none }),
      async () => inspectSource(none),
      async () => ensureDir(none),
      async () => pathExists(none),
    ]) {
      await expect(call()).rejects.toEqual(refused)
    }
    expect(new UsageError('x').code).toBe('EINVAL')
  })

  test('umount and mountStatus say where nothing is mounted', async () => {
    const nothing = expect.objectContaining({ name: 'FsError', code: 'EINVAL' })
    await expect(umount(folder)).rejects.toEqual(nothing)
    await expect(mountStatus(folder)).rejects.toEqual(nothing)
  })
})

describe('the parts of atomfs', () => {
  test('writeToFile writes the configuration of atomfs', () => {
    const file = path.join(folder, 'config.json')
    writeToFile({ ociDir: 'oci', tag: 'demo', target: 't', writeableOverlayPath: '/w' }, file)
    expect(fs.readFileSync(file, 'utf8')).toBe(
      '{"OCIDir":"oci","Tag":"demo","Target":"t","AddWriteableOverlay":true,"WriteableOverlayPath":"/w",' +
        '"AllowMissingVerityData":false,"MetadataDir":""}',
    )
    expect(fs.statSync(file).mode & 0o133).toBe(0)
    expect(codeOf(() => writeToFile({ ociDir: '', tag: '', target: '' }, folder))).toBe('EISDIR')
  })

  test('runtimeDir finds the folder for runtime data', () => {
    expect(runtimeDir('/m')).toBe('/m')
    process.env[TEST_OVERRIDE_RUNTIME_DIR_KEY] = folder
    expect(runtimeDir('/m')).toBe(folder)
    delete process.env[TEST_OVERRIDE_RUNTIME_DIR_KEY]
    expect(path.isAbsolute(runtimeDir())).toBe(true)
    expect(TEST_OVERRIDE_RUNTIME_DIR_KEY).toBe('ATOMFS_TEST_RUN_DIR')
  })

  test('ensureDir makes directories, and pathExists sees them', () => {
    const inner = path.join(folder, 'a/b/c')
    ensureDir(inner)
    ensureDir(inner)
    expect(fs.statSync(inner).isDirectory()).toBe(true)
    expect(pathExists(inner)).toBe(true)
    expect(pathExists(path.join(inner, 'x'))).toBe(false)
    fs.symlinkSync('nowhere', path.join(folder, 'link'))
    expect(pathExists(path.join(folder, 'link'))).toBe(false)
    fs.writeFileSync(path.join(folder, 'file'), '')
    expect(pathExists(path.join(folder, 'file/x'))).toBe(true)
    expect(codeOf(() => ensureDir(path.join(folder, 'file')))).toBe('EEXIST')
    expect(codeOf(() => ensureDir(path.join(folder, 'file/x')))).toBe('ENOTDIR')
  })

  test('the helpers for places name them as atomfs does', () => {
    expect(replacePathSeparators('/a/b/c')).toBe('a-b-c')
    expect(replacePathSeparators('a/b')).toBe('a-b')
    expect(replacePathSeparators('')).toBe('')
    expect(getMountNamespaceName()).toBe(/\d+/.exec(fs.readlinkSync('/proc/self/ns/mnt'))![0])
    expect(atomsPath({ ociDir: 'x' })).toBe('x/blobs/sha256')
    expect(atomsPath({ ociDir: 'a/../x/' }, 'y/')).toBe('x/blobs/sha256/y')
  })

  test('the overlay options of atomfs are all accepted', () => {
    const { ignored } = parseOverlayOptions([`lowerdir=/a,${OVERLAY_MOUNT_OPTIONS}`])
    expect(ignored).toEqual([])
  })
})
