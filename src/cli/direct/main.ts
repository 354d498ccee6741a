import '../../sys/plain/own-packages.ts'
import { serveDirectly } from '../../daemon/life/direct.ts'
import { SERVE } from '../../daemon/shared/start-server.ts'
import { exitNow } from '../../sys/process/exit.ts'
import { commandLine } from '../command-line.ts'
import { sendReady } from './answer.ts'
import { readDirectMount } from './request.ts'
import { serveMounts } from './serve-mounts.ts'

/**
 * Entry of the process that the launcher starts for what is surely a mount in the background (bin/atomfs-fuse): it
 * reads the words, mounts, answers and serves. Where it ends without an answer, the launcher runs the program itself,
 * which says why there is no mount. It is also the server that several mounts share.
 */
async function main(): Promise<number> {
  if (process.argv[1] === SERVE) return await serveMounts()
  const [launcher, descriptors = ''] = process.argv.splice(1, 2)
  const direct = readDirectMount(process.argv[1] ?? '', commandLine())
  if (direct === undefined) return 1
  const { request, ignored } = direct
  return await serveDirectly(request, {
    pid: Number(launcher),
    descriptors: descriptors.split(' ').filter(Boolean).map(Number),
    answer: (warnings) => sendReady(request, ignored, warnings),
  })
}

main().then(exitNow, () => exitNow(1))
