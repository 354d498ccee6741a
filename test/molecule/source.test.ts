import { closeSync, mkdirSync, openSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FsError, UsageError } from '../../src/base/index.ts'
import { describeSource, parseSource, withOffset } from '../../src/molecule/source.ts'
import { ociSource } from '../../src/oci/index.ts'
import { createLayout, makeTempDir, putImage, removeTempDir, writeIndex } from '../library/index.ts'

let temp = ''
beforeAll(async () => {
  temp = makeTempDir()
  for (const name of ['image', 'with:colon', 'oci', 'oci:oci']) createLayout(join(temp, name))
  writeFileSync(join(temp, 'layer'), 'hsqs')
  writeFileSync(join(temp, 'image:as-file'), 'hsqs')
  for (const name of ['plain', 'broken/blobs', 'oci:plain']) mkdirSync(join(temp, name), { recursive: true })
  writeFileSync(join(temp, 'broken/index.json'), '{}')
  symlinkSync('image', join(temp, 'link'))
  writeIndex(join(temp, 'image'), [
    await putImage(join(temp, 'image'), { tag: 'v1', layers: [{ file: join(temp, 'layer') }] }),
  ])
})
afterAll(() => removeTempDir(temp))

const oci = (name: string, tag: string) => ({ container: 'oci', path: join(temp, name), tag })

describe('parseSource', () => {
  test('an OCI source is split at the last colon that leaves a directory', () => {
    expect(parseSource(`${temp}/image:v1`)).toEqual(oci('image', 'v1'))
    expect(parseSource(`${temp}/with:colon:v1`)).toEqual(oci('with:colon', 'v1'))
    expect(parseSource(`${temp}/image:registry:5000/name:v1`)).toEqual(oci('image', 'registry:5000/name:v1'))
    expect(parseSource(`${temp}/link:v1`)).toEqual(oci('link', 'v1'))
    expect(parseSource(`${relative(process.cwd(), temp)}/image:v1`)).toEqual(oci('image', 'v1'))
  })

  test('a source may have the prefix oci:, or be a directory of that name', () => {
    expect(parseSource(`oci:${temp}/image:v1`)).toEqual(oci('image', 'v1'))
    expect(parseSource(`oci:${temp}/with:colon:v1`)).toEqual(oci('with:colon', 'v1'))
    expect(parseSource(`${temp}/oci:v1`)).toEqual(oci('oci', 'v1'))
    expect(parseSource(`${temp}/oci:oci:v1`)).toEqual(oci('oci:oci', 'v1'))
  })

  test('a source may be a layout alone, or an image by its digest', () => {
    const digest = `sha256:${'0a'.repeat(32)}`
    const byDigest = (name: string) => ({ container: 'oci', path: join(temp, name), digest })
    for (const text of [`${temp}/image`, `oci:${temp}/image`, `${temp}/image:`, `oci:${temp}/image:`]) {
      expect(parseSource(text)).toEqual({ container: 'oci', path: join(temp, 'image') })
    }
    expect(parseSource(`${temp}/image@${digest}`)).toEqual(byDigest('image'))
    expect(parseSource(`oci:${temp}/image@${digest}`)).toEqual(byDigest('image'))
    expect(parseSource(`${temp}/image:${digest}`)).toEqual(byDigest('image'))
    expect(parseSource(`${temp}/with:colon@${digest}`)).toEqual(byDigest('with:colon'))
  })

  test('a source may be a directory that is no layout, also by descriptor', () => {
    const directory = (path: string) => ({ container: 'directory', path })
    expect(parseSource(`${temp}/plain`)).toEqual(directory(join(temp, 'plain')))
    expect(parseSource(`${temp}/plain/../plain/`)).toEqual(directory(`${temp}/plain/../plain/`))
    expect(parseSource(`${temp}/oci:plain`)).toEqual(directory(join(temp, 'oci:plain')))
    const fd = openSync(join(temp, 'plain'), 'r')
    try {
      expect(parseSource(`/proc/self/fd/${fd}`)).toEqual(directory(`/proc/self/fd/${fd}`))
    } finally {
      closeSync(fd)
    }
  })

  test('a source may be a file, also by descriptor', () => {
    expect(parseSource(`${temp}/layer`)).toEqual({ container: 'file', path: join(temp, 'layer') })
    expect(parseSource(`${temp}/image:as-file`)).toEqual({
      container: 'file',
      path: join(temp, 'image:as-file'),
    })
    const fd = openSync(join(temp, 'layer'), 'r')
    try {
      for (const path of [`/proc/self/fd/${fd}`, `/dev/fd/${fd}`]) {
        expect(parseSource(path)).toEqual({ container: 'file', path })
      }
    } finally {
      closeSync(fd)
    }
    expect(() => parseSource('/proc/self/fd/999999')).toThrow('no such open file descriptor')
  })

  test.each([
    ['', 'EINVAL', /^the source is empty/],
    ['TEMP/none', 'ENOENT', /no such file or directory, and it is not OCIDIR:TAG either$/],
    [
      'TEMP/none:v1',
      'ENOENT',
      /no such file or directory, and as OCIDIR:TAG "TEMP\/none" is no such directory$/,
    ],
    ['oci:TEMP/none:v1', 'ENOENT', /as OCIDIR:TAG "TEMP\/none" is no such directory$/],
    ['TEMP/layer:v1', 'ENOENT', /as OCIDIR:TAG "TEMP\/layer" is not a directory$/],
    ['TEMP/plain:v1', 'EINVAL', /directory "TEMP\/plain" exists but is no OCI image layout/],
    ['TEMP/plain:', 'EINVAL', /directory "TEMP\/plain" exists but is no OCI image layout/],
    ['oci:TEMP/plain', 'EINVAL', /directory "TEMP\/plain" exists but is not an OCI image layout$/],
    ['TEMP/broken', 'EINVAL', /an OCI image layout without its file oci-layout/],
    ['TEMP/image@v1', 'ENOENT', /no such file or directory, and it is not OCIDIR:TAG either$/],
    ['/dev/null', 'EINVAL', /neither a regular file nor a block device$/],
    ['a\0b', 'EINVAL', /NUL/],
  ])('the source %j is refused with %s', (text, code, message) => {
    const expected = new RegExp(message.source.replaceAll('TEMP', temp))
    try {
      parseSource(text.replace('TEMP', temp))
    } catch (error) {
      expect(error).toBeInstanceOf(FsError)
      expect((error as FsError).message).toMatch(expected)
      expect((error as FsError).code).toBe(code)
      return
    }
    expect.unreachable()
  })
})

describe('ociSource', () => {
  test('an OCI source by its parts is not split: tag and directory may have colons', () => {
    expect(ociSource('/img', 'b:demo')).toEqual({ container: 'oci', path: '/img', tag: 'b:demo' })
    expect(ociSource('/img:b', 'demo')).toEqual({ container: 'oci', path: '/img:b', tag: 'demo' })
    expect(ociSource('img', '')).toEqual({ container: 'oci', path: `${process.cwd()}/img` })
  })

  test('an OCI source refuses a directory without a name', () => {
    expect(() => ociSource('', 'demo')).toThrow(UsageError)
  })
})

describe('describeSource', () => {
  test('the description of a source is read as the same source', () => {
    for (const text of [
      `${temp}/image:v1`,
      `${temp}/image`,
      `${temp}/layer`,
      `${temp}/with:colon:a:b`,
      `${temp}/plain`,
    ]) {
      const source = parseSource(text)
      expect(parseSource(describeSource(source))).toEqual(source)
    }
  })
})

describe('withOffset', () => {
  test('an offset is for image files alone', () => {
    const directory = { container: 'directory', path: '/d' }
    expect(() => withOffset(directory, 0)).toThrow(/^offset= is for an image file, and \/d is a directory$/)
    expect(() => withOffset(directory, 0)).toThrow(UsageError)
    const file = { container: 'file', path: '/a' } as const
    expect(withOffset(file, 4096)).toEqual({ ...file, offset: 4096 })
    expect(withOffset(file, undefined)).toEqual(file)
    expect(() => withOffset(ociSource('/img', 'demo'), 0)).toThrow(/^offset= is for an image file/)
  })
})
