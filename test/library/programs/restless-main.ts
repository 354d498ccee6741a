import { writeSync } from 'node:fs'
import { builtin } from '../../../src/drivers/builtin/driver.ts'
import { DEFAULT_KERNEL_OPTIONS } from '../../../src/fuse/index.ts'
import { parseSource, resolveMolecule } from '../../../src/molecule/index.ts'
import { holdDescriptors } from '../../../src/sys/plain/proc.ts'

/**
 * Serves an image on a target with data workers that end at once where they have nothing to do. Writes `ready`, all that
 * is logged, and at the end the reason.
 */

const [image, target, restMs] = process.argv.slice(2)
if (image === undefined || target === undefined) throw new Error('usage: restless-main IMAGE TARGET REST_MS')

const say = (line: string): void => {
  writeSync(1, `${line}\n`)
}
const spec = resolveMolecule({
  source: parseSource(image),
  name: image,
  allowMissingVerity: true,
  verify: 'lazy',
  options: {},
})
holdDescriptors()
const { serve } = await builtin.mount(
  {
    target,
    fsname: 'restless',
    readOnly: true,
    nosuid: true,
    nodev: true,
    noexec: false,
    flags: [],
    allowOther: true,
    defaultPermissions: true,
  },
  {
    spec,
    cacheSize: 8 << 20,
    workers: 2,
    restMs: Number(restMs),
    kernel: DEFAULT_KERNEL_OPTIONS,
    log: (level, message) => say(`${level}: ${message}`),
  },
)
const server = serve()
await server.loaded
say('ready')
const end = await server.ended
say(end.reason === 'failed' ? `failed: ${end.message}` : end.reason)
await server.stop()
