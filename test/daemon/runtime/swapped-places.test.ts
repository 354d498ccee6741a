import { spawn } from 'node:child_process'
import { chmodSync, chownSync, closeSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createEntry, type MoleculeConfig, removeOwnEntry } from '../../../src/daemon/runtime/entries.ts'
import { openUpper, upperPaths } from '../../../src/molecule/upper/upper.ts'
import { ownIdentity } from '../../../src/sys/process/process.ts'
import { withTempDir } from '../../library/programs/temp.ts'
import { needs, titled } from '../../library/programs/tools.ts'
import { SWAP } from '../../library/scenes/swapper.ts'

const ROUNDS = Number(process.env['ATOMFS_SWAPS'] ?? 60)
const STRANGER = 54_321
const NEED = needs('root', 'setpriv')
const OPTIONS = {
  fsync: 'volatile',
  volatileSign: true,
  redirectDir: true,
  writeback: true,
  copyUpAtOpen: false,
} as const

test.skipIf(!NEED.ok)(
  titled(
    `another user who renames folders meanwhile cannot lead root to other places (${ROUNDS} rounds)`,
    NEED,
  ),
  async () => {
    await withTempDir(async (folder) => {
      const victim = join(folder, 'victim')
      const shared = join(folder, 'shared')
      for (const path of ['work/work', 'persist', 'meta', 'changes/x/work/work']) {
        mkdirSync(join(victim, path), { recursive: true })
        writeFileSync(join(victim, path, 'keep'), 'safe')
      }
      const before = readdirSync(victim, { recursive: true }).sort()
      mkdirSync(shared)
      chmodSync(folder, 0o755)
      chownSync(shared, 0, STRANGER)
      chmodSync(shared, 0o2770)
      writeFileSync(join(folder, 'go'), '')
      const ids = [`--reuid=${STRANGER}`, `--regid=${STRANGER}`, '--clear-groups']
      const swapper = spawn('setpriv', [...ids, process.execPath, '-e', SWAP], {
        cwd: shared,
        stdio: 'ignore',
      })
      let done = 0
      try {
        // Until it has begun.
        await new Promise((resolve) => setTimeout(resolve, 300))
        for (let round = 0; round < ROUNDS; round++) {
          if (attempt(shared, round)) done++
          // The other one gets his turn, and his signals, too.
          if (round % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
        }
      } finally {
        swapper.kill('SIGKILL')
      }
      expect(readdirSync(victim, { recursive: true }).sort()).toEqual(before)
      console.info(`${done} of ${ROUNDS} had their places`)
    })
  },
  3_600_000,
)

/** What a mount does with its places, from the first look to the last. @returns whether it came to its end */
function attempt(shared: string, round: number): boolean {
  const config: MoleculeConfig = {
    OCIDir: '/images',
    Tag: 'web',
    Target: '/mnt/x',
    AddWriteableOverlay: true,
    WriteableOverlayPath: '',
    AllowMissingVerityData: false,
    MetadataDir: join(shared, 'run'),
  }
  try {
    const entry = createEntry(config, { process: ownIdentity(), state: 'starting' }, () => false)
    try {
      const place =
        round % 2 === 0
          ? ({ kind: 'persist', folder: join(shared, 'p') } as const)
          : ({ kind: 'upper', upper: join(shared, 'u') } as const)
      const upper = openUpper(upperPaths(place, ''), OPTIONS, [])
      if (round % 3 === 0) upper.undo()
      else upper.unlock()
      closeSync(upper.spec.upperFd)
      if (upper.spec.work !== undefined) closeSync(upper.spec.work.fd)
      return true
    } finally {
      removeOwnEntry(entry)
      for (const one of Object.values(entry.held)) one.close()
    }
  } catch (error) {
    // Refused, or gone just now: an error of the system in one line, never a bug.
    expect(error).toMatchObject({ code: expect.stringMatching(/^E[A-Z]+$/) })
    return false
  }
}
