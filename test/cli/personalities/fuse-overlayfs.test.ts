import { describe, expect, test } from 'vitest'
import { fuseOverlayfsVersion } from '../../../src/cli/personalities/fuse-overlayfs.ts'

describe('fuseOverlayfsVersion', () => {
  test('the version line has the form that clients of fuse-overlayfs look for', () => {
    expect(fuseOverlayfsVersion('0.1.0')).toMatch(
      /^fuse-overlayfs: version \d+\.\d+ \(atomfs-fuse 0\.1\.0\)$/,
    )
  })
})
