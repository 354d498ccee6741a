import { describe, expect, test } from 'vitest'
import { userNamespaceLimits } from '../../../src/sys/process/user-namespaces.ts'

const reader = (files: Readonly<Record<string, string>>) => (path: string) => files[path]

describe('userNamespaceLimits', () => {
  test('userNamespaceLimits names each closed limit and how to open it', () => {
    expect(
      userNamespaceLimits(
        reader({
          '/proc/sys/user/max_user_namespaces': '0\n',
          '/proc/sys/kernel/unprivileged_userns_clone': '0\n',
          '/proc/sys/kernel/apparmor_restrict_unprivileged_userns': '1\n',
        }),
      ),
    ).toEqual([
      expect.stringContaining('sysctl user.max_user_namespaces='),
      expect.stringContaining('sysctl kernel.unprivileged_userns_clone=1'),
      expect.stringMatching(/AppArmor.*fusermount3.*apparmor_restrict_unprivileged_userns=0.*userns,/),
    ])
  })

  test('userNamespaceLimits is empty if all limits are open or unknown to the kernel', () => {
    expect(userNamespaceLimits(reader({}))).toEqual([])
    expect(
      userNamespaceLimits(
        reader({
          '/proc/sys/user/max_user_namespaces': '63000\n',
          '/proc/sys/kernel/unprivileged_userns_clone': '1\n',
          '/proc/sys/kernel/apparmor_restrict_unprivileged_userns': '0\n',
        }),
      ),
    ).toEqual([])
  })
})
