import { createHash } from 'node:crypto'
import {
  chownSync,
  closeSync,
  lchownSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { FsError } from '../../src/base/index.ts'
import { hostPlatform, openLayer } from '../../src/oci/index.ts'
import { readLayout } from '../library/images/oci-layout.ts'
import {
  CONFIG_MEDIA_TYPE,
  createLayout,
  type Descriptor,
  INDEX_MEDIA_TYPE,
  MANIFEST_MEDIA_TYPE,
  makeTempDir,
  needs,
  putDocument,
  ROOT_HASH_ANNOTATION,
  removeTempDir,
  SQUASHFS_MEDIA_TYPE,
  titled,
  writeIndex,
} from '../library/index.ts'

const OLD_ROOT_HASH = 'io.stackeroci.stacker.squashfs_verity_root_hash'
const REF = 'org.opencontainers.image.ref.name'
const needRoot = needs('root')
let ociDir = ''

beforeEach(() => {
  ociDir = join(makeTempDir(), 'oci')
  createLayout(ociDir)
})
afterEach(() => removeTempDir(dirname(ociDir)))

const named = (descriptor: Descriptor, tag: string): Descriptor => ({
  ...descriptor,
  annotations: { [REF]: tag },
})
const blob = (descriptor: Descriptor): string => join(ociDir, 'blobs', descriptor.digest.replace(':', '/'))

function layer(content: string, extra: Partial<Descriptor> = {}): Descriptor {
  const hex = createHash('sha256').update(content).digest('hex')
  writeFileSync(join(ociDir, 'blobs/sha256', hex), content)
  return { mediaType: SQUASHFS_MEDIA_TYPE, digest: `sha256:${hex}`, size: content.length, ...extra }
}

function manifest(layers: readonly object[], extra: object = {}): Descriptor {
  const config = putDocument(ociDir, CONFIG_MEDIA_TYPE, { os: 'linux', architecture: 'amd64' })
  return putDocument(ociDir, MANIFEST_MEDIA_TYPE, { schemaVersion: 2, config, layers, ...extra })
}

/** An image of these layers under the tag `t`. */
function image(layers: readonly object[], extra: object = {}): Descriptor {
  const descriptor = manifest(layers, extra)
  writeIndex(ociDir, [named(descriptor, 't')])
  return descriptor
}

/** The FsError of a call as `CODE: message`. */
function failure(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    if (error instanceof FsError && !error.message.includes('\n')) return `${error.code}: ${error.message}`
    throw error
  }
  return 'no error'
}
const readFailure = (tag = 't'): string => failure(() => readLayout(ociDir, tag))

describe('readImage', () => {
  test('readImage returns the layers bottom first with all checked fields', () => {
    const [a, b] = [
      layer('bottom'),
      layer('top!', { annotations: { [ROOT_HASH_ANNOTATION]: 'AB12', other: 'x' } }),
    ]
    const descriptor = image([a, b, a])
    const result = readLayout(ociDir, 't')
    expect(result).toMatchObject({
      ociDir,
      reference: 't',
      manifestDigest: descriptor.digest,
      config: { os: 'linux' },
    })
    expect(result.layers.map(({ digest }) => digest)).toEqual([a.digest, b.digest, a.digest])
    expect(result.layers[0]).toEqual({ ...a, kind: 'squashfs', blobPath: blob(a), annotations: {} })
    expect(result.layers[1]).toMatchObject({ size: 4, rootHash: 'ab12', annotations: { other: 'x' } })
  })

  test('readImage follows a blobs directory that is a symbolic link, and accepts null annotations and sha512', () => {
    const text = 'wide'
    const hex = createHash('sha512').update(text).digest('hex')
    mkdirSync(join(ociDir, 'blobs/sha512'))
    writeFileSync(join(ociDir, 'blobs/sha512', hex), text)
    image([layer('x', { annotations: null as never }), layer('y', { digest: `sha512:${hex}`, size: 4 })])
    renameSync(join(ociDir, 'blobs'), join(dirname(ociDir), 'store'))
    symlinkSync('../store', join(ociDir, 'blobs'))
    expect(readLayout(ociDir, 't').layers.map(({ size }) => size)).toEqual([1, 4])
  })

  describe('symbolic links in a layout', () => {
    const elsewhere = (): string => join(dirname(ociDir), 'elsewhere')
    const replaceByLink = (path: string): void => {
      renameSync(path, elsewhere())
      symlinkSync(elsewhere(), path)
    }

    test('readImage follows an absolute symbolic link for the folder of blobs', () => {
      image([layer('x')])
      replaceByLink(join(ociDir, 'blobs/sha256'))
      expect(readLayout(ociDir, 't').layers).toHaveLength(1)
    })

    test.each(['index.json', 'oci-layout', 'manifest', 'layer'])(
      'readImage refuses a symbolic link for %s',
      (name) => {
        const one = layer('x')
        const descriptor = image([one])
        const paths: Readonly<Record<string, string>> = { manifest: blob(descriptor), layer: blob(one) }
        const path = paths[name] ?? join(ociDir, name)
        replaceByLink(path)
        expect(readFailure()).toMatch(/^EPERM: .*is a symbolic link: files of an image layout must lie in it/)
        expect(readFailure()).toContain(path)
      },
    )

    test('a layer that becomes a symbolic link after the check is not opened', () => {
      const one = layer('x')
      image([one])
      const read = readLayout(ociDir, 't')
      closeSync(openLayer(read, read.layers[0]!))
      replaceByLink(blob(one))
      expect(failure(() => openLayer(read, read.layers[0]!))).toMatch(/^EPERM: .*is a symbolic link/)
    })

    test.skipIf(!needRoot.ok)(
      titled(
        'readImage refuses a symbolic link of another user, but follows one of the owner of the layout',
        needRoot,
      ),
      () => {
        image([layer('x')])
        replaceByLink(join(ociDir, 'blobs'))
        lchownSync(join(ociDir, 'blobs'), 4321, 4321)
        expect(readFailure()).toMatch(/^EPERM: .*blobs is a symbolic link of a stranger \(user 4321\)$/)
        chownSync(ociDir, 4321, 4321)
        expect(readFailure()).toBe('no error')
      },
    )
  })

  describe('a source without a tag', () => {
    test('a source without a tag names the only image, and the error lists the images if there are several', () => {
      const one = manifest([layer('x')])
      const two = manifest([layer('y')])
      const only = (): string => readLayout(ociDir, '').manifestDigest
      writeIndex(ociDir, [one])
      expect(only()).toBe(one.digest)
      writeIndex(ociDir, [named(one, 'a'), named(one, 'b')])
      expect(only()).toBe(one.digest)
      writeIndex(ociDir, [named(one, 'a'), two])
      expect(failure(only)).toBe(
        `EINVAL: ${ociDir} holds several images: give OCIDIR:TAG or OCIDIR@DIGEST; ` +
          `tags in it: "a"; without a tag: ${two.digest}`,
      )
      const { os, architecture } = hostPlatform()
      writeIndex(ociDir, [
        { ...one, platform: { os, architecture: 'other' } },
        { ...two, platform: { os, architecture } },
      ])
      expect(only()).toBe(two.digest)
      writeIndex(ociDir, [])
      expect(failure(only)).toBe(`ENOENT: ${ociDir} holds no image`)
    })

    test('a digest selects an image, whatever tag or platform index.json gives it', () => {
      const one = manifest([layer('x')])
      const two = manifest([layer('y')])
      const index = putDocument(ociDir, INDEX_MEDIA_TYPE, {
        manifests: [{ ...two, platform: hostPlatform() }],
      })
      writeIndex(ociDir, [named(one, two.digest)])
      const digest = (text: string): string => readLayout(ociDir, text).manifestDigest
      expect(digest(one.digest)).toBe(one.digest)
      expect(digest(two.digest)).toBe(two.digest)
      expect(digest(index.digest)).toBe(two.digest)
      writeFileSync(blob(two), '{}')
      expect(failure(() => digest(two.digest))).toMatch(/^EIO: image sha256:.*content has digest/)
      expect(failure(() => digest('sha256:00'))).toMatch(/^EIO: image "sha256:00": malformed digest/)
      expect(failure(() => digest(`sha256:${'0'.repeat(64)}`))).toMatch(
        /^ENOENT: image sha256:0.*no such file$/,
      )
    })
  })

  test('readImage reports an empty media type', () => {
    image([layer('x', { mediaType: '' })])
    expect(readFailure()).toMatch(/^EIO: manifest sha256:.*: layers\.0\.mediaType is empty$/)
  })

  test('readImage reports what is wrong with the layout', () => {
    image([layer('x')])
    const write = (name: string, text: string): void => writeFileSync(join(ociDir, name), text)
    write('oci-layout', '{"imageLayoutVersion":"2.0.0"}')
    expect(readFailure()).toMatch(/^EOPNOTSUPP: .*version "2\.0\.0" is not supported, only 1\.0\.x is$/)
    write('oci-layout', '{}')
    expect(readFailure()).toMatch(/^EIO: oci-layout: imageLayoutVersion is missing$/)
    write('oci-layout', '{"imageLayoutVersion":"1.0.1"}')
    expect(readFailure()).toBe('no error')
    write('index.json', '{"manifests": [')
    expect(readFailure()).toMatch(/^EIO: index\.json: not valid JSON/)
    write('index.json', `{"manifests":[],"pad":"${'x'.repeat(17_000_000)}"}`)
    expect(readFailure()).toMatch(/^EIO: index\.json: .* more than the limit of 16777216$/)
    write('index.json', '{"manifests":[{"mediaType":"m","digest":"d","size":-1}]}')
    expect(readFailure()).toMatch(/^EIO: index\.json: manifests\.0\.size: expected >=0, got -1$/)
    rmSync(join(ociDir, 'index.json'))
    expect(readFailure()).toMatch(/^ENOENT: index\.json: cannot open .*: no such file$/)
    mkdirSync(join(ociDir, 'index.json'))
    expect(readFailure()).toMatch(/^EIO: index\.json: .*not a regular file$/)
    rmSync(join(ociDir, 'oci-layout'))
    expect(readFailure()).toMatch(/^ENOENT: image directory .* is no OCI image layout/)
    expect(failure(() => readLayout(`${ociDir}-no`, 't'))).toMatch(
      /^ENOENT: image directory .* does not exist$/,
    )
  })

  test('the error for an unknown tag lists the tags of the layout', () => {
    const one = manifest([layer('x')])
    writeIndex(ociDir, [named(one, 'b'), named(one, 'a"'), one])
    expect(readFailure('c')).toBe(`ENOENT: ${ociDir}: no tag "c"; tags in it: "a\\"", "b"`)
    writeIndex(ociDir, [one])
    expect(readFailure('c')).toMatch(/tags in it: none; without a tag: sha256:[0-9a-f]{64}$/)
  })

  test('readImage refuses a tag that names two images, unless both are the same or the platform decides', () => {
    const [one, two] = [named(manifest([layer('x')]), 't'), named(manifest([layer('y')]), 't')]
    writeIndex(ociDir, [one, one])
    expect(readFailure()).toBe('no error')
    writeIndex(ociDir, [one, two])
    expect(readFailure()).toMatch(/^EINVAL: .*tag "t" is ambiguous/)
    writeIndex(ociDir, [
      { ...one, platform: { os: 'linux', architecture: 'other' } },
      { ...two, platform: hostPlatform() },
    ])
    expect(readLayout(ociDir, 't').manifestDigest).toBe(two.digest)
  })

  test('readImage refuses manifests that are damaged, contradictory or too large', () => {
    const good = image([layer('x')])
    writeIndex(ociDir, [named({ ...good, size: good.size + 1 }, 't')])
    expect(readFailure()).toMatch(
      new RegExp(`^EIO: manifest sha256:.*gives ${good.size + 1} bytes, the blob has ${good.size}`),
    )
    writeIndex(ociDir, [named(good, 't')])
    writeFileSync(blob(good), 'x'.repeat(good.size))
    expect(readFailure()).toMatch(/^EIO: manifest .*content has digest sha256:.*damaged/)
    rmSync(blob(good))
    expect(readFailure()).toMatch(/^ENOENT: manifest .*no such file$/)
    image([layer('x')], { manifests: [] })
    expect(readFailure()).toMatch(/^EIO: .*image manifest with a list of manifests$/)
    image([layer('x')], { mediaType: 'text/plain' })
    expect(readFailure()).toMatch(/^EIO: .*media type "text\/plain" in an image manifest$/)
    image([])
    expect(readFailure()).toMatch(/^EIO: .*no layers/)
    image(Array(5000).fill(layer('x')))
    expect(readFailure()).toMatch(/^EIO: .*5000 layers, more than the limit of 4096$/)
  })

  test('readImage checks size and type of the layer blobs', () => {
    const one = layer('content')
    image([layer('x'), one])
    truncateSync(blob(one), 3)
    expect(readFailure()).toMatch(
      /^EIO: layer 2 of 2, sha256:.*gives 7 bytes, the blob has 3: .*fetch the image again$/,
    )
    rmSync(blob(one))
    expect(readFailure()).toMatch(/^ENOENT: layer 2 of 2, .*no such file$/)
    mkdirSync(blob(one))
    expect(readFailure()).toMatch(/^EIO: .*not a regular file$/)
  })

  test.each([
    'sha256:../../../../etc/passwd',
    '../sha256:00',
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'a'.repeat(63)}`,
    `sha256:${'a'.repeat(64)}\n`,
    `sha256${'a'.repeat(64)}`,
    `:${'a'.repeat(64)}`,
    'sha256:',
  ])('readImage refuses the digest %j', (digest) => {
    image([layer('x', { digest })])
    expect(readFailure()).toMatch(/^EIO: layer 1 of 1: malformed digest/)
  })

  test('readImage refuses an unknown digest algorithm', () => {
    image([layer('x', { digest: 'sha256+b64u:LCa0a2j_xo' })])
    expect(readFailure()).toMatch(/^EOPNOTSUPP: .*"sha256\+b64u" is not supported/)
    image([layer('x', { digest: 'constructor:00' })])
    expect(readFailure()).toMatch(/^EOPNOTSUPP/)
  })
})

describe('media types of layers', () => {
  test.each([
    'application/vnd.stacker.image.layer.squashfs',
    'application/vnd.stacker.image.layer.squashfs+gzip',
    'application/vnd.stacker.image.layer.squashfs+zstd+verity',
    'application/vnd.sylabs.image.layer.v1.squashfs',
    'application/vnd.some.vendor.image.layer.squashfs.v2+xz',
    'application/vnd.oci.image.layer.v1.tar',
    'application/vnd.oci.image.layer.v1.tar+gzip',
    'application/vnd.docker.image.rootfs.diff.tar.gzip',
  ])('a layer of media type %s can be mounted', (mediaType) => {
    image([layer('x', { mediaType })])
    expect(readFailure()).toBe('no error')
  })

  test.each([
    ['application/vnd.oci.image.layer.v1.tar+encrypted', 'encrypted'],
    ['application/vnd.stacker.image.layer.erofs+zstd', 'an erofs image'],
    ['application/vnd.puzzlefs.image.rootfs.v2', 'a PuzzleFS image of another version'],
    ['application/vnd.x/image.layer.squashfs', 'not known'],
    ['squashfs', 'not known'],
  ])('a layer of media type %s cannot be mounted', (mediaType, kind) => {
    image([layer('x'), layer('y', { mediaType })])
    const text = readFailure()
    expect(text).toContain(`EOPNOTSUPP: layer 2 of 2: media type "${mediaType}" is ${kind}`)
    expect(text).toContain('application/vnd.stacker.image.layer.squashfs')
  })

  test('the error for a layer that cannot be mounted names the squashfs tag of the same image', () => {
    const other = manifest([layer('x', { mediaType: 'application/vnd.stacker.image.layer.erofs' })])
    writeIndex(ociDir, [named(other, 't'), named(manifest([layer('x')]), 't-squashfs')])
    expect(readFailure()).toMatch(/; try the tag "t-squashfs"$/)
  })
})

describe('root hash annotations', () => {
  const withAnnotations = (annotations: Record<string, string>): void =>
    void image([layer('x', { annotations })])

  test('readImage reads the old name of the root hash annotation, and both names may agree', () => {
    withAnnotations({ [OLD_ROOT_HASH]: 'c0' })
    expect(readLayout(ociDir, 't').layers[0]?.rootHash).toBe('c0')
    withAnnotations({ [OLD_ROOT_HASH]: 'C0', [ROOT_HASH_ANNOTATION]: 'c0' })
    expect(readLayout(ociDir, 't').layers[0]?.rootHash).toBe('c0')
    withAnnotations({ [OLD_ROOT_HASH]: 'c1', [ROOT_HASH_ANNOTATION]: 'c0' })
    expect(readFailure()).toMatch(/^EIO: layer 1 of 1, .*different root hashes$/)
  })

  test.each([
    ['', 'is empty'],
    ['abc', 'has 3 hex digits, expected an even number'],
    ['0x00', 'is not hex'],
    ['ab ', 'is not hex'],
    ['00'.repeat(65), 'more than 128'],
  ])('readImage refuses the root hash annotations %j', (value, reason) => {
    withAnnotations({ [OLD_ROOT_HASH]: 'c0', [ROOT_HASH_ANNOTATION]: value })
    expect(readFailure()).toMatch(/^EIO: layer 1 of 1, .*atomfs_verity_root_hash: root hash /)
    expect(readFailure()).toContain(reason)
  })
})

describe('image indexes', () => {
  const index = (manifests: readonly object[], extra: object = {}): Descriptor =>
    putDocument(ociDir, INDEX_MEDIA_TYPE, { schemaVersion: 2, manifests, ...extra })
  const on = (descriptor: Descriptor, architecture: string, variant?: string): Descriptor => ({
    ...descriptor,
    platform: { os: 'linux', architecture, ...(variant === undefined ? {} : { variant }) },
  })
  const tag = (descriptor: Descriptor): void => writeIndex(ociDir, [named(descriptor, 't')])
  const chosen = (platform?: string): string => readLayout(ociDir, 't', platform).manifestDigest

  test('an image index chooses the first image that fits the platform, through nested indexes', () => {
    const [a, b, c] = [manifest([layer('a')]), manifest([layer('b')]), manifest([layer('c')])]
    const unknown = { ...a, mediaType: 'application/x-unknown' }
    const attestation = { ...a, platform: { os: 'unknown', architecture: 'unknown' } }
    const inner = index([on(b, hostPlatform().architecture), on(c, 'arm', 'v7'), on(a, 'arm', 'v6')])
    tag(index([unknown, attestation, inner]))
    expect(chosen()).toBe(b.digest)
    expect(chosen('linux/arm')).toBe(c.digest)
    expect(chosen('linux/arm/v6')).toBe(a.digest)
    expect(failure(() => chosen('linux/s390x'))).toMatch(
      /^ENOENT: .*no image for platform linux\/s390x; platforms in it: .*linux\/arm\/v6, linux\/arm\/v7/,
    )
    expect(failure(() => chosen('linux'))).toMatch(/^EINVAL: platform "linux": expected os\/architecture/)
  })

  test('an only manifest without a platform fits, and one for another platform is refused if a platform is asked for', () => {
    const one = manifest([layer('a')])
    tag(index([one]))
    expect(chosen()).toBe(one.digest)
    tag(on(one, 'arm64', 'v8'))
    expect(chosen()).toBe(one.digest)
    expect(chosen('linux/arm64')).toBe(one.digest)
    expect(failure(() => chosen('linux/s390x'))).toMatch(
      /^ENOENT: .*is for linux\/arm64\/v8, not for linux\/s390x$/,
    )
  })

  test('readImage limits the depth and the number of image indexes', () => {
    let deep = index([manifest([layer('a')])])
    for (let i = 0; i < 9; i += 1) deep = index([deep])
    tag(deep)
    expect(readFailure()).toMatch(/^EIO: .*nested more than 8 deep$/)
    // Each level names the one below it many times: 40^4 documents if nobody counts.
    let wide = index([on(manifest([layer('a')]), 'none')])
    for (let i = 0; i < 4; i += 1) wide = index(Array.from({ length: 40 }, () => wide))
    tag(wide)
    expect(readFailure()).toMatch(/^EIO: .*more than 256 nested indexes$/)
  })

  test('readImage refuses an index that has layers, and a tag that is neither index nor manifest', () => {
    tag(index([manifest([layer('a')])], { layers: [] }))
    expect(readFailure()).toMatch(/^EIO: .*image index with layers or config$/)
    tag(layer('a'))
    expect(readFailure()).toMatch(/^EOPNOTSUPP: .*neither an image manifest nor an index$/)
  })
})
