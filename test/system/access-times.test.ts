import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isMounted, mountKernelOverlay, needs, titled, unmount } from '../library/index.ts'
import { inScene, SILENT } from '../library/scenes/life.ts'

const need = needs('root', 'fuse', 'kernel-overlayfs')
const LONG_AGO = new Date('2001-01-01T01:01:01Z')
const FILES = ['l/read', 'l/dir', 'l/dir/x', 'l/chmod', 'l/append']
const COPIES = ['u/chmod', 'u/append']

/** Makes a lower directory, all of it used long ago by somebody else. */
function makeLower(folder: string): void {
  for (const path of ['l/dir', 'u', 'w', 'm']) mkdirSync(join(folder, path), { recursive: true })
  for (const path of FILES.filter((one) => one !== 'l/dir')) writeFileSync(join(folder, path), 'x')
  for (const path of FILES.toReversed()) utimesSync(join(folder, path), LONG_AGO, LONG_AGO)
}

function use(target: string): void {
  readFileSync(join(target, 'read'))
  readFileSync(join(target, 'dir/x'))
  readdirSync(join(target, 'dir'))
  chmodSync(join(target, 'chmod'), 0o600)
  appendFileSync(join(target, 'append'), 'y')
}

function accessTimes(folder: string): Record<string, Date> {
  return Object.fromEntries([...FILES, ...COPIES].map((path) => [path, statSync(join(folder, path)).atime]))
}

test.skipIf(!need.ok)(
  titled('using a mount keeps the access times of the lower, and copies get them as in overlayfs', need),
  async () => {
    await inScene(async ({ folder, atomfs }) => {
      const [ours, kernels] = [join(folder, 'ours'), join(folder, 'kernels')]
      for (const one of [ours, kernels]) makeLower(one)
      const options = `lowerdir=${ours}/l,upperdir=${ours}/u,workdir=${ours}/w`
      expect(await atomfs('overlay', '-o', options, join(ours, 'm'))).toMatchObject(SILENT)
      const upper = { upper: join(kernels, 'u'), work: join(kernels, 'w') }
      await mountKernelOverlay([join(kernels, 'l')], join(kernels, 'm'), { upper })
      for (const one of [ours, kernels]) {
        use(join(one, 'm'))
        await unmount(join(one, 'm'))
        expect(isMounted(join(one, 'm'))).toBe(false)
      }
      expect(accessTimes(ours)).toEqual(
        Object.fromEntries([...FILES, ...COPIES].map((path) => [path, LONG_AGO])),
      )
      expect(accessTimes(ours)).toEqual(accessTimes(kernels))
    })
  },
)
