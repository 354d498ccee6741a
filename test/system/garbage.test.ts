import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { inScene, judge, Reader, type Scene, type Survey, smallTree } from '../hostile/index.ts'
import {
  ATOMFS_FUSE,
  createLayout,
  makeTempDir,
  mksquashfs,
  needs,
  putDocument,
  putImage,
  Random,
  removeTempDir,
  run,
  titled,
  writeIndex,
  writeOciLayout,
} from '../library/index.ts'

/** What is no image, or only a part of one: one clear line, exit 1, and nothing left mounted or running. */

const need = needs('root', 'fuse', 'mksquashfs', 'umount')
const TRUNCATIONS = 25

let temp = ''
let file = ''
let bytes: Buffer
let reader: Reader
let golden: Survey

beforeAll(async () => {
  if (!need.ok) return
  temp = makeTempDir()
  chmodSync(temp, 0o755)
  file = await mksquashfs(smallTree(join(temp, 'tree')), join(temp, 'image.sqfs'), { blockSize: 16_384 })
  bytes = readFileSync(file)
  reader = await Reader.start()
  golden = await inScene(temp, async (scene) => {
    expect(await scene.mount(file)).toMatchObject({ status: 0, stderr: '' })
    const found = await reader.survey(scene.target)
    await scene.unmount()
    return found
  })
})

afterAll(() => {
  reader?.stop()
  if (temp !== '') removeTempDir(temp)
})

/** Mounting a file of these bytes is refused. */
async function expectRefused(content: Uint8Array, reason: RegExp): Promise<void> {
  await inScene(temp, async (scene) => {
    const broken = join(scene.folder, 'broken')
    writeFileSync(broken, content)
    const result = await scene.mount(broken)
    scene.expectRefused(result, reason)
    expect(result.stderr).toContain(broken)
  })
}

describe.skipIf(!need.ok)(titled('a file that is no image', need), () => {
  test.each([
    ['empty', Buffer.alloc(0), /empty file/],
    ['text', Buffer.from('#!/bin/sh\necho hello\n'.repeat(500)), /not a squashfs image/],
    ['zeros', Buffer.alloc(100_000), /not a squashfs image/],
    ['the signature only', Buffer.from('hsqs'), /superblock/],
    ['big-endian', Buffer.concat([Buffer.from('sqsh'), Buffer.alloc(4096)]), /big-endian/],
  ])('a file that is no image is refused: %s', (_, content, reason) => expectRefused(content, reason))
})

/** squashfs: The Superblock. Name, position, size, a wrong value, and what is said about it. */
const FIELDS: readonly (readonly [string, number, 2 | 4 | 8, bigint, RegExp])[] = [
  ['magic', 0, 4, 0x1234n, /not a squashfs image/],
  ['inode count', 4, 4, 0n, /inode count is 0/],
  ['inode count', 4, 4, 0xffff_ffffn, /inode count 4294967295 does not fit/],
  ['block size', 12, 4, 12_345n, /block size 12345/],
  ['block size', 12, 4, 1n << 31n, /block size 2147483648/],
  ['fragment count', 16, 4, 0xffff_ffffn, /fragment table/],
  ['compressor', 20, 2, 9n, /compressor 9/],
  ['compressor', 20, 2, 4n, /metadata block|inode/],
  ['block log', 22, 2, 13n, /block log 13/],
  ['id count', 26, 2, 0n, /id count is 0/],
  ['id count', 26, 2, 0xffffn, /id table/],
  ['major version', 28, 2, 3n, /version 3\.0/],
  ['minor version', 30, 2, 1n, /version 4\.1/],
  ['root inode', 32, 8, 0xffff_ffff_ffffn, /root inode/],
  ['root inode', 32, 8, 8191n, /inode table|root inode/],
  ['bytes used', 40, 8, 0n, /bytes used 0/],
  ['bytes used', 40, 8, 1n << 40n, /truncated/],
  ['bytes used', 40, 8, (1n << 64n) - 1n, /exceeds 2\^53/],
  ['id table', 48, 8, 0n, /id table at 0/],
  ['id table', 48, 8, (1n << 64n) - 1n, /exceeds 2\^53/],
  ['xattr table', 56, 8, 100n, /xattr table at 100/],
  ['inode table', 64, 8, 0n, /inode table at 0/],
  ['inode table', 64, 8, 1n << 52n, /inode table at/],
  ['directory table', 72, 8, 96n, /directory table at 96/],
  ['fragment table', 80, 8, 96n, /fragment table at 96/],
  ['export table', 88, 8, 96n, /export table at 96/],
]

describe.skipIf(!need.ok)(titled('a superblock with one field wrong', need), () => {
  test.each(FIELDS)(
    'a superblock with one wrong field is refused: %s (byte %i, %i bytes): %i',
    (_, position, size, value, reason) => {
      const changed = Buffer.from(bytes)
      if (size === 8) changed.writeBigUInt64LE(value, position)
      else changed.writeUIntLE(Number(value), position, size)
      return expectRefused(changed, reason)
    },
  )

  test('the content is right for any flags in the superblock', async () => {
    await inScene(temp, async (scene) => {
      const changed = Buffer.from(bytes)
      // All but the bit that announces compressor options, which would then have to be there.
      changed.writeUInt16LE(0xfbff, 24)
      const path = join(scene.folder, 'flags')
      writeFileSync(path, changed)
      expect(await scene.mount(path)).toMatchObject({ status: 0, stderr: '' })
      expect(judge(await reader.survey(scene.target, Object.keys(golden.items)), golden).wrong).toEqual([])
      await scene.unmount()
    })
  })
})

describe.skipIf(!need.ok)(titled('a truncated image', need), () => {
  test(`an image truncated at ${TRUNCATIONS} places is refused by mount`, async () => {
    const random = new Random(50)
    const used = Number(bytes.readBigUInt64LE(40))
    for (let i = 0; i < TRUNCATIONS; i += 1) {
      // Half of them in the last tenth, where the tables are.
      const size = i % 2 === 0 ? random.int(1, used - 1) : random.int(Math.floor(used * 0.9), used - 1)
      await expectRefused(bytes.subarray(0, size), /truncated|superblock|squashfs/)
    }
  })

  test('an image that loses its end while it is mounted gives errors or right bytes', async () => {
    const random = new Random(51)
    for (let i = 0; i < 6; i += 1) {
      await inScene(temp, async (scene) => {
        const path = join(scene.folder, 'shrinking')
        writeFileSync(path, bytes)
        expect(await scene.mount(path)).toMatchObject({ status: 0, stderr: '' })
        truncateSync(path, random.int(0, bytes.length - 1))
        const verdict = judge(await reader.survey(scene.target, Object.keys(golden.items)), golden)
        expect(verdict.wrong).toEqual([])
        expect(scene.log()).not.toContain('bug:')
        await scene.unmount()
        scene.expectNothingLeft()
      })
    }
  })

  test('an image without the padding at its end mounts', async () => {
    await inScene(temp, async (scene) => {
      const path = join(scene.folder, 'cut')
      writeFileSync(path, bytes.subarray(0, Number(bytes.readBigUInt64LE(40))))
      expect(await scene.mount(path)).toMatchObject({ status: 0, stderr: '' })
      expect(judge(await reader.survey(scene.target), golden)).toMatchObject({ wrong: [], refused: [] })
      await scene.unmount()
    })
  })
})

describe.skipIf(!need.ok)(titled('a damaged image layout', need), () => {
  /** Mounts TAG of a layout that `spoil` has changed. */
  async function expectLayoutRefused(
    spoil: (ociDir: string, blobs: string) => Promise<void> | void,
    reason: RegExp,
    tag = 'good',
  ): Promise<void> {
    await inScene(temp, async (scene) => {
      const ociDir = join(scene.folder, 'oci')
      await writeOciLayout(ociDir, [
        { tag: 'good', layers: [{ file }] },
        { tag: 'other', layers: [{ file }, { file }] },
      ])
      await spoil(ociDir, join(ociDir, 'blobs/sha256'))
      const result = await scene.mount(`${ociDir}:${tag}`, '--allow-missing-verity')
      scene.expectRefused(result, reason)
    })
  }
  const largest = (blobs: string): string =>
    readdirSync(blobs)
      .map((name) => join(blobs, name))
      .sort((a, b) => readFileSync(b).length - readFileSync(a).length)[0]!
  const manifestOf = (ociDir: string): string => {
    const index = JSON.parse(readFileSync(join(ociDir, 'index.json'), 'utf8'))
    return join(ociDir, 'blobs', index.manifests[0].digest.replace(':', '/'))
  }

  test('the error for a missing tag lists the existing tags', () =>
    expectLayoutRefused(() => undefined, /no tag "none"; tags in it: "good", "other"/, 'none'))
  test('a layout with a missing layer is refused', () =>
    expectLayoutRefused((_, blobs) => rmSync(largest(blobs)), /layer 1 of 1.*no such file/))
  test('a layout with a layer of the wrong size is refused', () =>
    expectLayoutRefused(
      (_, blobs) => truncateSync(largest(blobs), 5000),
      /layer 1 of 1.*has 5000.*incomplete/,
    ))
  test('a layout with a missing manifest is refused', () =>
    expectLayoutRefused((oci) => rmSync(manifestOf(oci)), /manifest.*no such file/))
  test('a layout with a manifest of another digest is refused', () =>
    expectLayoutRefused((oci) => {
      const path = manifestOf(oci)
      writeFileSync(path, readFileSync(path, 'utf8').replace('"schemaVersion":2', '"schemaVersion":3'))
    }, /manifest sha256:[0-9a-f]{64}: content has digest/))
  test('a layout with a manifest of the wrong size is refused', () =>
    expectLayoutRefused((oci) => truncateSync(manifestOf(oci), 100), /manifest .*the blob has 100/))
  test('a layout with an index that is no JSON is refused', () =>
    expectLayoutRefused((oci) => writeFileSync(join(oci, 'index.json'), '{"manifests":'), /index\.json/))
  test('a directory without oci-layout is refused', () =>
    expectLayoutRefused((oci) => rmSync(join(oci, 'oci-layout')), /oci-layout/))
  test('a layout with a damaged second layer is refused', () =>
    expectLayoutRefused(async (oci) => {
      const broken = join(oci, 'broken')
      writeFileSync(broken, bytes.subarray(0, 3000))
      writeIndex(oci, [await putImage(oci, { tag: 'good', layers: [{ file }, { file: broken }] })])
    }, /sha256:[0-9a-f]{64}: superblock: .*truncated/))
  test('an image without layers is refused', () =>
    expectLayoutRefused(
      async (oci) => writeIndex(oci, [await putImage(oci, { tag: 'good', layers: [] })]),
      /no layers/,
    ))
  test.each([
    ['application/vnd.oci.image.layer.v1.tar+encrypted', /encrypted/],
    ['application/vnd.stacker.image.layer.erofs+lz4', /erofs/],
    ['text/plain', /is not known; can mount only squashfs layers/],
  ])('a layer of type %s is refused', (mediaType, reason) =>
    expectLayoutRefused(async (oci) => {
      writeIndex(oci, [await putImage(oci, { tag: 'good', layers: [{ file, mediaType }] })])
    }, reason),
  )
  test('a digest that leads out of the layout is refused', () =>
    expectLayoutRefused((oci) => {
      createLayout(oci)
      const good = putDocument(oci, 'application/vnd.oci.image.manifest.v1+json', {})
      const annotations = { 'org.opencontainers.image.ref.name': 'good' }
      writeIndex(oci, [{ ...good, digest: 'sha256:../../../../etc/passwd', annotations }])
    }, /digest/))
})

describe.skipIf(!need.ok)(titled('a machine without a target or a FUSE device', need), () => {
  const runIn = (scene: Scene, prepare: string, target = scene.target) =>
    run('unshare', ['-m', 'sh', '-c', `set -e; ${prepare} "$0" mount "$1" "$2"`, ATOMFS_FUSE, file, target], {
      env: { ATOMFS_TEST_RUN_DIR: scene.runDir, FUSERMOUNT_PROG: '/nonexistent' },
      allowFailure: true,
    })

  test('mount refuses a target that is missing or no directory', async () => {
    await inScene(temp, async (scene) => {
      const { folder } = scene
      scene.expectRefused(await scene.atomfs('mount', file, join(folder, 'none')), /none does not exist/)
      writeFileSync(join(folder, 'plain'), '')
      scene.expectRefused(
        await scene.atomfs('mount', file, join(folder, 'plain')),
        /plain is not a directory/,
      )
      scene.expectRefused(await scene.atomfs('mount', file, join(folder, 'plain/x')), /plain/)
    })
  })

  test('mount reports that /dev/fuse is missing', async () => {
    await inScene(temp, async (scene) => {
      const prepare = 'mount -t tmpfs none /dev; mknod -m 0666 /dev/null c 1 3; exec'
      scene.expectRefused(await runIn(scene, prepare), /\/dev\/fuse does not exist/)
      // Without /dev/null no process can be started at all; that is still an error in one line.
      scene.expectRefused(await runIn(scene, 'mount -t tmpfs none /dev; exec'), /./)
    })
  })

  test('mount reports that /dev/fuse is another file', async () => {
    await inScene(temp, async (scene) => {
      scene.expectRefused(
        await runIn(scene, 'mount --bind /dev/null /dev/fuse; exec'),
        /\/dev\/fuse|mount on/,
      )
    })
  })

  test('mount reports that the user may not open /dev/fuse', async () => {
    await inScene(temp, async (scene) => {
      chmodSync(scene.folder, 0o755)
      mkdirSync(scene.runDir)
      chmodSync(scene.runDir, 0o777)
      chmodSync(scene.target, 0o777)
      const node = join(scene.folder, 'fuse')
      const as = 'exec setpriv --reuid=65534 --regid=65534 --clear-groups'
      const prepare = `mknod -m 0600 ${node} c 10 229; mount --bind ${node} /dev/fuse;`
      // As root of a namespace of its own it may mount, but not open the device.
      scene.expectRefused(
        await runIn(scene, `${prepare} ${as} unshare -Urm`),
        /permission to open \/dev\/fuse|fuse/,
      )
      // As a plain user it needs the helper, which is not there.
      scene.expectRefused(await runIn(scene, `${prepare.replace('mknod', 'true')} ${as}`), /fusermount|fuse/)
    })
  })
})
