import { mountFuse } from '../../sys/mounts/mount.ts'
import type { Driver } from '../driver.ts'
import { startServer } from './server.ts'

/** The server of this project on `/dev/fuse`. Requests wait in the kernel until it runs. */
export const builtin: Driver = {
  async mount(options, served) {
    const mount = await mountFuse(options)
    return { mount, serve: () => startServer(mount.fuseFd, served) }
  },
}
