import { describe, expect, test } from 'vitest'
import {
  isReachable,
  parseMountInfo,
  placesOf,
  readMountInfo,
  topMountAt,
  unescapeOctal,
} from '../../../src/sys/mounts/mountinfo.ts'

const LINE =
  '101 29 0:57 /sub /mnt/a\\040b rw,nosuid shared:7 master:2 - fuse.atomfs-fuse oci:x\\134y ro,user_id=0,max_read=4096'

describe('parseMountInfo', () => {
  test('parseMountInfo reads every field of a line with optional fields', () => {
    expect(parseMountInfo(`${LINE}\n`)).toEqual([
      {
        mountId: 101,
        parentId: 29,
        device: '0:57',
        root: '/sub',
        mountPoint: '/mnt/a b',
        mountOptions: ['rw', 'nosuid'],
        type: 'fuse.atomfs-fuse',
        source: 'oci:x\\y',
        superOptions: ['ro', 'user_id=0', 'max_read=4096'],
      },
    ])
  })

  test('parseMountInfo reads a line without optional fields and with an empty source', () => {
    const [mount] = parseMountInfo('1 0 8:1 / / rw - tmpfs  rw')
    expect(mount).toMatchObject({ type: 'tmpfs', source: '', superOptions: ['rw'] })
  })

  test('parseMountInfo refuses a line that ends early, and names its number', () => {
    for (const broken of ['1 2 0:3', '1 2 0:3 / /mnt rw shared:1', '1 2 0:3 / /mnt rw - fuse']) {
      expect(() => parseMountInfo(`${LINE}\n${broken}\n`)).toThrow(
        expect.objectContaining({ code: 'EIO', message: expect.stringContaining('line 2') }),
      )
    }
  })

  test('parseMountInfo decodes exactly the octal escapes of the kernel', () => {
    expect(unescapeOctal('a\\040\\011\\012\\134\\043b')).toBe('a \t\n\\#b')
    expect(unescapeOctal('\\04 \\9 ü')).toBe('\\04 \\9 ü')
  })

  test('parseMountInfo reads the mounts of this process', () => {
    expect(topMountAt(readMountInfo(), '/proc')?.type).toBe('proc')
  })
})

const at = (mountId: number, parentId: number, mountPoint: string) => ({
  ...parseMountInfo(LINE)[0]!,
  mountId,
  parentId,
  mountPoint,
})

describe('topMountAt', () => {
  test('topMountAt finds the mount that covers the others, in any order', () => {
    const stack = [at(10, 1, '/m'), at(11, 10, '/m'), at(12, 11, '/m'), at(13, 12, '/m/inner')]
    expect(topMountAt(stack, '/m')?.mountId).toBe(12)
    expect(topMountAt(stack.toReversed(), '/m')?.mountId).toBe(12)
  })

  test('topMountAt finds no mount below or above a mount point', () => {
    expect(topMountAt([at(10, 1, '/m')], '/m/x')).toBeUndefined()
    expect(topMountAt([at(10, 1, '/m')], '/')).toBeUndefined()
  })
})

describe('isReachable', () => {
  const reachable = (...mounts: readonly ReturnType<typeof at>[]) =>
    mounts.filter((mount) => isReachable(mounts, mount)).map(({ mountId }) => mountId)

  test('isReachable is false for a mount that is covered at its place, or above it', () => {
    const lower = at(10, 1, '/c/rootfs/lower')
    expect(reachable(at(1, 0, '/'), lower)).toEqual([1, 10])
    expect(reachable(at(1, 0, '/'), lower, at(11, 10, '/c/rootfs/lower'))).toEqual([1, 11])
    expect(reachable(at(1, 0, '/'), lower, at(11, 1, '/c/rootfs'))).toEqual([1, 11])
    expect(reachable(at(11, 1, '/c/rootfs'), lower, at(1, 0, '/'))).toEqual([11, 1])
    expect(reachable(at(1, 0, '/'), lower, at(11, 1, '/'))).toEqual([11])
  })

  test('isReachable is true beside other mounts, and within those that cover a folder above', () => {
    const others = [at(11, 1, '/c/rootfs/low'), at(12, 1, '/c/root'), at(13, 10, '/c/rootfs/lower/in')]
    expect(reachable(at(1, 0, '/'), at(10, 1, '/c/rootfs/lower'), ...others)).toEqual([1, 10, 11, 12, 13])
    // 11 covers 10 and all in it; 12 lies in 11.
    expect(reachable(at(1, 0, '/'), at(10, 1, '/c/a'), at(11, 1, '/c'), at(12, 11, '/c/a/b'))).toEqual([
      1, 11, 12,
    ])
    // A root whose own parent is not listed, or is itself.
    expect(reachable(at(5, 5, '/'), at(10, 5, '/m'))).toEqual([5, 10])
  })

  test('placesOf names each place of a file system once, and which of them a lookup finds', () => {
    const other = (mountId: number, parentId: number, mountPoint: string) => ({
      ...at(mountId, parentId, mountPoint),
      device: '0:1',
    })
    const twice = [at(10, 1, '/m'), at(11, 10, '/m')]
    const mounts = [other(1, 0, '/'), ...twice, at(12, 1, '/c/in'), other(13, 1, '/c')]
    expect(placesOf(mounts, '0:57')).toEqual([
      { place: '/m', isReachable: true },
      { place: '/c/in', isReachable: false },
    ])
    expect(placesOf(mounts, '0:9')).toEqual([])
  })
})
