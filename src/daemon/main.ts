import '../sys/own-packages.ts'
import { exitNow } from '../sys/exit.ts'
import { sendFailure } from './background.ts'

// Entry point of the daemon process. Whatever goes wrong from the first import on reaches the parent, which
// is the only one to tell it to: this process has no stderr.
try {
  const [{ runInBackground }, { resolveMolecule }, { startServer }, { serveByFuseNative }] =
    await Promise.all([
      import('./background.ts'),
      import('../molecule.ts'),
      import('./server.ts'),
      import('./fuse-native/index.ts'),
    ])
  exitNow(await runInBackground({ resolveMolecule, startServer, serveByFuseNative }))
} catch (error) {
  sendFailure(error)
  exitNow(1)
}
