import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ATOMFS_FUSE, needs, run, titled, unmount, withTempDir } from '../library/index.ts'
import { until } from '../library/programs/wait.ts'

const need = needs('root', 'fuse', 'setpriv')

/** Opens files, removes their names, and changes and reads all of them afterwards. */
const CLIENT = `
const fs = require('node:fs')
const [target, count] = [process.argv[1], Number(process.argv[2])]
const open = []
for (let i = 0; i < count; i++) {
  const path = target + '/f' + i
  open.push(fs.openSync(path, 'w+'))
  fs.writeSync(open[i], 'file ' + i)
  fs.unlinkSync(path)
}
for (let i = 0; i < count; i++) {
  fs.writeSync(open[i], '!')
  if (i % 100 === 0) fs.fsyncSync(open[i])
  const text = Buffer.alloc(100)
  const length = fs.readSync(open[i], text, 0, 100, 0)
  const { nlink } = fs.fstatSync(open[i])
  if (text.toString('utf8', 0, length) !== 'file ' + i + '!' || nlink !== 0) throw new Error(i + ': ' + text + nlink)
}
console.log(fs.readdirSync(target).length)
`

test.skipIf(!need.ok)(
  titled('2 000 open unnamed files work with a limit of 1 024 descriptors', need),
  { timeout: 120_000 },
  () =>
    withTempDir(async (folder) => {
      const [lower, upper, work, target] = ['l', 'u', 'w', 'm'].map((name) => join(folder, name))
      if (target === undefined) throw new Error('no target')
      await run('mkdir', ['l', 'u', 'w', 'm'], { cwd: folder })
      const env = { ATOMFS_TEST_RUN_DIR: join(folder, 'run') }
      // Without that capability nobody gets more than the hard limit.
      const limited = ['--bounding-set=-sys_resource', 'sh', '-c', 'ulimit -n 1024 && exec "$@"', 'sh']
      const options = `lowerdir=${lower},upperdir=${upper},workdir=${work}`
      await run('setpriv', [...limited, ATOMFS_FUSE, 'overlay', '-o', options, target], { env })
      try {
        const { stdout } = await run('sh', [
          '-c',
          'ulimit -n 4096 && exec "$@"',
          'sh',
          process.execPath,
          '-e',
          CLIENT,
          target,
          '2000',
        ])
        expect(stdout).toBe('0\n')
      } finally {
        await unmount(target)
      }
      // The kernel does not wait for the RELEASE of each file, nor umount(8) for the end of the daemon.
      for (const place of [upper, join(work ?? '', 'work')]) {
        await until(() => readdirSync(place ?? '').length === 0, `nothing is left in ${place}`)
      }
    }),
)
