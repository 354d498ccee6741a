import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { explainDeviceError, openFuseDevice } from '../../../src/sys/mounts/device.ts'
import { fusermountPrograms } from '../../../src/sys/mounts/fusermount.ts'
import { inheritedFuseFd, userMayAllowOther } from '../../../src/sys/mounts/mount.ts'

describe('openFuseDevice', () => {
  test('openFuseDevice reports that the device is missing, and what to do', () => {
    expect(() => openFuseDevice('/nonexistent/fuse')).toThrow(
      expect.objectContaining({
        code: 'ENOENT',
        message: expect.stringMatching(/does not exist.*(mknod|modprobe)/),
      }),
    )
  })

  test.each([
    ['EACCES', 'EACCES', /chmod 0666/],
    ['EPERM', 'EPERM', /device cgroup.*c 10:229/],
    ['ENXIO', 'ENODEV', /modprobe fuse/],
    ['ENODEV', 'ENODEV', /modprobe fuse/],
    ['EMFILE', 'EIO', /EMFILE/],
  ])('openFuseDevice explains %s', (given, code, remedy) => {
    const error = explainDeviceError('/dev/fuse', given)
    expect(error.code).toBe(code)
    expect(error.message).toMatch(remedy)
    expect(error.message).not.toContain('\n')
  })
})

describe('inheritedFuseFd', () => {
  test('inheritedFuseFd accepts only the /dev/fd/N form', () => {
    for (const target of ['/mnt', '/dev/fd', '/dev/fd/', '/dev/fd/1x', '/dev/fd/1/x', 'dev/fd/1']) {
      expect(inheritedFuseFd(target)).toBeUndefined()
    }
  })

  test('inheritedFuseFd refuses a descriptor that is closed or no FUSE device', () => {
    expect(() => inheritedFuseFd('/dev/fd/987654')).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    const folder = mkdtempSync(join(tmpdir(), 'atomfs-test-'))
    try {
      writeFileSync(join(folder, 'fuse.conf'), '#user_allow_other\n # no\n')
      expect(userMayAllowOther(join(folder, 'fuse.conf'))).toBe(false)
      writeFileSync(join(folder, 'fuse.conf'), 'mount_max = 5\n user_allow_other \n')
      expect(userMayAllowOther(join(folder, 'fuse.conf'))).toBe(true)
      expect(userMayAllowOther(join(folder, 'none'))).toBe(false)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('fusermountPrograms', () => {
  test('fusermountPrograms tries the chosen helper first', () => {
    expect(fusermountPrograms({})).toEqual(['fusermount3', 'fusermount'])
    expect(fusermountPrograms({ FUSERMOUNT_PROG: '/opt/fm' })).toEqual([
      '/opt/fm',
      'fusermount3',
      'fusermount',
    ])
    expect(fusermountPrograms({ FUSERMOUNT_PROG: '' })).toEqual(['fusermount3', 'fusermount'])
  })
})
