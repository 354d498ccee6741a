import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { run } from '../../test/library/programs/process.ts'
import type { Subject } from '../inputs/index.ts'
import { firstOurs } from './first-readers.ts'
import { extractOurs, makeOurs } from './makers.ts'
import { MOUNT_TIMEOUT, type Mounted, type Reader } from './reader.ts'
import { endProcesses, unmountTarget } from './teardown.ts'

/**
 * A build of this project with its default options.
 * @param program its `bin/atomfs-fuse`
 * @param verify with root hashes where the image has them; else without any verification
 * @param extra further arguments
 */
export function oursReader(
  name: string,
  program: string,
  verify: boolean,
  extra: readonly string[] = [],
): Reader {
  return {
    name,
    missing: () => (existsSync(program) ? undefined : `${program} is missing`),
    accepts: () => true,
    make: makeOurs(program),
    extract: extractOurs(program),
    first: firstOurs(program),
    mount: (subject, target, work, upper) => {
      const changes = upper === undefined ? [] : ['--upper', upper.directory]
      const kept = subject.store === undefined ? [] : ['--store', join(subject.store, name)]
      const args = argumentsFor(subject, verify, [...changes, ...kept, ...extra])
      return mountOurs(program, args, target, work)
    },
  }
}

/** Ours on a squashfs image of the same tree, where there is one to compare another format with. */
export function squashfsReader(name: string, program: string): Reader {
  const reader = oursReader(name, program, true)
  return {
    ...reader,
    accepts: ({ squashfs }, writable) => squashfs !== undefined && !writable,
    mount: (subject, target, work) => {
      const { squashfs = subject.unverified } = subject
      return reader.mount({ ...subject, verified: squashfs }, target, work)
    },
  }
}

/** The same through the optional driver, where its package is installed. */
export function fuseNativeReader(name: string, program: string): Reader {
  const reader = oursReader(name, program, true, ['-o', 'driver=fuse-native'])
  return {
    ...reader,
    missing: () => reader.missing() ?? missingPackage(program),
    accepts: (_subject, writable) => !writable,
  }
}

function missingPackage(program: string): string | undefined {
  try {
    createRequire(program).resolve('fuse-native/package.json')
    return undefined
  } catch {
    return "needs 'npm install --no-save --ignore-scripts fuse-native@2.2.6'"
  }
}

function argumentsFor(subject: Subject, verify: boolean, extra: readonly string[]): readonly string[] {
  const { verified, unverified, passphraseFile } = subject
  if (verify && verified !== undefined) return [...extra, verified]
  const key = passphraseFile === undefined ? [] : ['--passphrase-file', passphraseFile]
  return [...extra, ...key, '--allow-missing-verity', unverified]
}

async function mountOurs(
  program: string,
  args: readonly string[],
  target: string,
  work: string,
): Promise<Mounted> {
  const env = { ATOMFS_TEST_RUN_DIR: work }
  await run(program, ['mount', ...args, target], { env, timeout: MOUNT_TIMEOUT })
  const pids = daemons(work)
  return {
    pids,
    unmount: async () => {
      await run(program, ['umount', target], { env, timeout: 30_000, allowFailure: true }).catch(
        () => undefined,
      )
      await unmountTarget(target)
      await endProcesses(pids)
    },
  }
}

/** The process ids in the runtime directory (`meta/NAMESPACE/TARGET/daemon.json`). */
function daemons(runDir: string): number[] {
  return readdirSync(runDir, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('/daemon.json'))
    .map((path) => JSON.parse(readFileSync(join(runDir, path), 'utf8')) as { process: { pid: number } })
    .map(({ process: { pid } }) => pid)
}
