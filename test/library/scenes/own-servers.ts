import { afterAll, beforeAll } from 'vitest'

const NAME = 'ATOMFS_SERVER'

/**
 * For tests that look at the process of one mount (its threads, rights, memory, environment or log): they mean one of
 * its own also where `ATOMFS_SERVER=shared` makes all others run with a server of several mounts. To be called in
 * `describe`, or for a whole file.
 */
export function meansOwnServers(): void {
  const before = process.env[NAME]
  beforeAll(() => {
    process.env[NAME] = 'own'
  })
  afterAll(() => {
    if (before === undefined) delete process.env[NAME]
    else process.env[NAME] = before
  })
}
