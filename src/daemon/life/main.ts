import '../../sys/plain/own-packages.ts'
import { exitNow } from '../../sys/process/exit.ts'
import { sendFailure } from './background.ts'

// Entry point of the daemon process. Errors from the first import on go to the parent, because this process has no
// stderr.
try {
  const [{ runInBackground }, { resolveMolecule }, { startServer }, { serveByFuseNative }] =
    await Promise.all([
      import('./background.ts'),
      import('../../molecule/index.ts'),
      import('../serve/server.ts'),
      import('../fuse-native/serve.ts'),
    ])
  exitNow(await runInBackground({ resolveMolecule, startServer, serveByFuseNative }))
} catch (error) {
  sendFailure(error)
  exitNow(1)
}
