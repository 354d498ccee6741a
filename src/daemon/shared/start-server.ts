import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { programFile } from '../../threads.ts'
import { daemonEnvironment } from '../life/environment.ts'

/** See `spawn.ts` of the client. */
const ENGINE_OPTIONS = ['--v8-pool-size=1']

/** What the program that mounts gets in place of a launcher: it serves whoever comes. */
export const SERVE = '--serve'

/** Descriptor of the server at which clients come. */
export const LISTENING_FD = 3

/** Starts a server process, in a session of its own, which accepts clients at a socket that listens already. */
export function startServer(listening: number): void {
  const { file, words } = programFile('mount')
  const child = spawn(process.execPath, [...ENGINE_OPTIONS, fileURLToPath(file), ...words, SERVE], {
    cwd: '/',
    env: daemonEnvironment(),
    stdio: ['ignore', 'ignore', 'ignore', listening],
    detached: true,
  })
  // Clients see that nobody accepts.
  child.on('error', () => undefined)
  child.unref()
}
