import { cpSync, existsSync, readdirSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../test/library/programs/process.ts'

const SOURCES = ['src', 'squashfs', 'ext4', 'puzzlefs', 'sif', 'tar', 'overlay']

/**
 * Copies the built programs, so that nobody's build changes what is measured while it is measured. Builds first where
 * a source is newer than the build. `ATOMFS_FUSE_BIN` names another launcher, which is then used as it is.
 * @returns the launcher to measure
 */
export async function prepareProgram(
  repository: string,
  directory: string,
  log: (line: string) => void,
): Promise<string> {
  const given = process.env['ATOMFS_FUSE_BIN']
  if (given !== undefined) return given
  if (isStale(repository)) {
    log('building dist/ …')
    await run(process.execPath, [join(repository, 'scripts', 'build.mjs')], { timeout: 120_000 })
  }
  const copy = join(directory, 'program')
  for (const name of ['bin', 'dist', 'package.json']) {
    const isCode = (path: string): boolean => !path.endsWith('.map') && !path.endsWith('/types')
    cpSync(join(repository, name), join(copy, name), { recursive: true, filter: isCode })
  }
  symlinkSync(join(repository, 'node_modules'), join(copy, 'node_modules'))
  return join(copy, 'bin', 'atomfs-fuse')
}

function isStale(repository: string): boolean {
  const stamp = statSync(join(repository, 'dist', '.built'), { throwIfNoEntry: false })
  if (stamp === undefined) return true
  return SOURCES.some((folder) =>
    readdirSync(join(repository, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => join(repository, folder, name))
      .some((path) => path.endsWith('.ts') && existsSync(path) && statSync(path).mtimeMs > stamp.mtimeMs),
  )
}
