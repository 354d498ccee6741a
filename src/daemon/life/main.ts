import '../../sys/plain/own-packages.ts'
import { sendFailure } from './channel.ts'

// Entry point of the daemon process. Errors from the first import on go to the parent, because this process has no
// stderr.
try {
  const [{ exitNow }, { runInBackground }] = await Promise.all([
    import('../../sys/process/exit.ts'),
    import('./background.ts'),
  ])
  exitNow(await runInBackground())
} catch (error) {
  sendFailure(error)
  // No thread of ours runs yet that could hold it up.
  process.exit(1)
}
