import { run } from '../../test/library/programs/process.ts'
import type { ClientReport } from '../clients/index.ts'
import { ACTION_TIMEOUT } from './session.ts'

/** Runs a program of `bench/clients/` in its own process. @param args numbers and paths it needs */
export async function runClient(name: string, ...args: readonly string[]): Promise<ClientReport> {
  const [node, main = ''] = process.argv
  const { stdout } = await run(node ?? process.execPath, [main, 'client', name, ...args], {
    timeout: ACTION_TIMEOUT,
  })
  return JSON.parse(stdout) as ClientReport
}
