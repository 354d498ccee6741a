import { mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type Container,
  FsError,
  type MediaTypes,
  type NamedSource,
  type PathText,
} from '../../src/base/index.ts'
import {
  containerNamed,
  containersAt,
  knownContainers,
  registerContainer,
} from '../../src/kinds/containers.ts'
import {
  inspectSource,
  type MoleculeSpec,
  parseSource,
  resolveMolecule,
  verifySource,
} from '../../src/molecule/index.ts'
import { describeSource, withOffset } from '../../src/molecule/source.ts'
import { decodeRequest } from '../../src/request/schema.ts'
import { createLayout, makeTempDir, putImage, removeTempDir, writeIndex } from '../library/index.ts'
import { toyArchive } from './toy-archive.ts'
import './toy-kind.ts'

let temp = ''
const ARCHIVE = toyArchive({ file: Buffer.from('content') })
const CRATE = 'CRATE\0'
const media: MediaTypes = { kindOf: () => 'cpio', known: 'cpio' }

beforeAll(async () => {
  temp = makeTempDir()
  mkdirSync(join(temp, 'plain'))
  writeFileSync(join(temp, 'plain/name'), '')
  createLayout(join(temp, 'layout'))
  writeFileSync(join(temp, 'image'), ARCHIVE)
  symlinkSync('image', join(temp, 'link'))
  const layers = [{ file: join(temp, 'image') }, { file: join(temp, 'image') }]
  writeIndex(join(temp, 'layout'), [await putImage(join(temp, 'layout'), { tag: 'v1', layers })])
  // Two images, and something before, between and behind them.
  writeFileSync(
    join(temp, 'crate'),
    Buffer.concat([Buffer.from(CRATE), ARCHIVE, Buffer.of(1), ARCHIVE, Buffer.of(2)]),
  )
})
afterAll(() => removeTempDir(temp))

const at = (name: string): PathText => join(temp, name)
const namesAt = (path: PathText) => containersAt(path, statSync(path)).map(({ name }) => name)

describe('the containers', () => {
  test('each container has a name of its own, and is found by it', () => {
    const names = knownContainers().map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    for (const name of names) expect(containerNamed(name).name).toBe(name)
    expect(() => containerNamed('zip')).toThrow(/no container "zip"/)
  })

  test('a layout, a file and a directory are known by what they are; a device is none of them', () => {
    expect(namesAt(at('layout'))).toEqual(['oci', 'directory'])
    expect(namesAt(at('link'))).toEqual(['file'])
    expect(namesAt(at('plain'))).toEqual(['directory'])
    expect(namesAt('/dev/null')).toEqual([])
  })

  test('a layout gives its layers from the bottom, with media types, digests and what must not be covered', () => {
    const found = containerNamed('oci').find(parseSource(`${at('layout')}:v1`), {
      name: 'x',
      mediaTypes: media,
    })
    const [first, second] = found.layers
    expect(found).toMatchObject({
      plain: false,
      expectsRootHashes: true,
      manifestDigest: expect.stringMatching(/^sha256:/),
    })
    expect(first).toMatchObject({
      label: expect.stringMatching(/^sha256:/),
      kind: 'cpio',
      mediaType: expect.any(String),
    })
    expect(second).toMatchObject({ label: (first as { label: string }).label })
    expect(found.imagePaths[0]).toBe(at('layout'))
    expect(found.imagePaths[1]).toMatch(/blobs\/sha256\/[0-9a-f]{64}$/)
  })

  test('a file is one plain image, at an offset, with the root hash of the user', () => {
    const source = withOffset(parseSource(at('image')), 512)
    expect(containerNamed('file').find(source, { name: 'x', rootHash: 'ab', mediaTypes: media })).toEqual({
      layers: [{ label: at('image'), path: at('image'), offset: 512, rootHash: 'ab' }],
      plain: true,
      expectsRootHashes: false,
      imagePaths: [at('image')],
    })
  })

  test('a directory is one layer with marks, which may be covered', () => {
    expect(
      containerNamed('directory').find(parseSource(at('plain')), { name: 'x', mediaTypes: media }),
    ).toEqual({
      layers: [{ directory: at('plain'), what: 'directory', followsRedirects: false }],
      plain: false,
      expectsRootHashes: false,
      imagePaths: [],
    })
  })
})

const wish = (source: NamedSource, more: object = {}) => ({
  ...{
    source,
    name: describeSource(source),
    allowMissingVerity: false,
    verify: 'auto' as const,
    options: {},
  },
  ...more,
})

describe('a directory as a source', () => {
  test('inspect says that it is a directory, and how many names it has', () => {
    expect(inspectSource(at('plain'))).toEqual({
      source: at('plain'),
      layers: [],
      directory: { kind: 'directory', label: at('plain'), entries: 1 },
    })
  })

  test('a directory has nothing to verify against: one line each', async () => {
    const source = parseSource(at('plain'))
    const line = (what: string) =>
      `${what}: ${at('plain')} is a directory, which has nothing to verify against`
    expect(() => resolveMolecule(wish(source, { rootHash: 'ab' }))).toThrow(line('--root-hash'))
    expect(() => resolveMolecule(wish(source, { verify: 'eager' }))).toThrow(line('--verify=eager'))
    await expect(verifySource({ source })).rejects.toThrow(line('verify'))
  })

  test('a directory that has gone is named', () => {
    const source = { container: 'directory', path: at('gone') }
    expect(() => resolveMolecule(wish(source))).toThrow(`directory ${at('gone')} cannot be opened: ENOENT`)
    expect(() => inspectSource(source)).toThrow(`directory ${at('gone')} cannot be read: ENOENT`)
  })
})

/** A container for this test only: two images in one file, chosen by number, or both merged. */
const CRATES: Container = {
  name: 'crate',
  title: 'a crate',
  form: 'CRATE:NUMBER',
  claims: (path, stats) => stats.isFile() && path.endsWith('crate'),
  read(path, rest) {
    if (rest === undefined) return { container: 'crate', path }
    if (!/^[12]$/.test(rest)) throw new FsError('EINVAL', `a crate has images 1 and 2, not ${rest}`)
    return { container: 'crate', path, tag: rest }
  },
  describe: ({ path, tag }) => (tag === undefined ? path : `${path}:${tag}`),
  atOffset: ({ path }, offset) => ({ container: 'file', path, offset }),
  find({ path, tag }) {
    const start = [CRATE.length, CRATE.length + ARCHIVE.length + 1]
    const numbers = tag === undefined ? [1, 2] : [Number(tag)]
    const layers = numbers.map((number) => ({
      ...{ label: `${path}:${number}`, path, offset: start[number - 1] ?? 0, length: ARCHIVE.length },
    }))
    return { layers, plain: tag !== undefined, expectsRootHashes: false, imagePaths: [path] }
  },
}

describe('a container that only this test knows', () => {
  test('an added container is read, sent to the daemon, opened and inspected without a change elsewhere', () => {
    registerContainer(CRATES)
    const source = parseSource(`${at('crate')}:2`)
    expect(source).toEqual({ container: 'crate', path: at('crate'), tag: '2' })
    expect(describeSource(source)).toBe(`${at('crate')}:2`)
    expect(withOffset(source, 6)).toEqual({ container: 'file', path: at('crate'), offset: 6 })
    expect(() => parseSource(`${at('crate')}:3`)).toThrow(
      /^source ".*crate:3": a crate has images 1 and 2, not 3$/,
    )
    expect(() => parseSource(at('none'))).toThrow(/it is not CRATE:NUMBER or OCIDIR:TAG either$/)
    // A source is refused for what is wrong with the rest of this request, and not for its container.
    expect(() => decodeRequest(JSON.stringify({ source }))).toThrow(/\(name: expected/)

    const whole = resolveMolecule(wish(parseSource(at('crate'))))
    expect(windows(whole)).toEqual([
      [6, ARCHIVE.length],
      [7 + ARCHIVE.length, ARCHIVE.length],
    ])
    expect([whole.layers, whole.plain, whole.imagePaths]).toEqual([[0, 1], false, [at('crate')]])
    const { layers } = inspectSource(source)
    expect(layers).toMatchObject([
      { label: `${at('crate')}:2`, kind: 'cpio', size: ARCHIVE.length, inodes: 2 },
    ])
  })
})

function windows({ images }: MoleculeSpec): unknown {
  return images.map(({ transforms }) => {
    const [window] = transforms
    return window?.kind === 'window' ? [window.offset, window.size] : undefined
  })
}
