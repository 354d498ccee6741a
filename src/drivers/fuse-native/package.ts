import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { FsError } from '../../base/index.ts'
import { openLibrary } from '../../sys/ffi/ffi.ts'

/** Answers one request: 0, a count of bytes or a negative errno, then the values of the operation. */
export type Answer = (result: number, ...values: readonly unknown[]) => void

/** A mount of the package. Names with `_` are internals of version 2.2.6, the last one. */
export interface PackageMount {
  /** Calls back when libfuse has answered INIT, or with the error that kept it from mounting. */
  mount(done: (error: Error | null) => void): void
  /** The command line for libfuse. */
  _fuseOptions: () => string
  _op_getxattr: (signal: Answer, path: string, name: string, room: Buffer) => void
  _op_listxattr: (signal: Answer, path: string, room: Buffer) => void
}

/** The package with its time-outs switched off: a slow disk is no reason to answer with an error. */
export type PackageClass = new (
  target: string,
  operations: object,
  options: { timeout: false },
) => PackageMount

const NAME = 'fuse-native'

/**
 * Loads the package as the user has installed it: from a `node_modules` above this file, or from a folder of
 * `--driver-path`. Its binary needs libfuse.so.2. Where the system has none, the copy of the package is loaded first;
 * the dynamic linker then finds it by its name.
 * @param folders where to look instead, as NODE_PATH would name them
 * @throws FsError ENOENT, ENOSYS with what to do
 */
export function loadPackage(
  folders: readonly string[] | undefined,
  require = createRequire(import.meta.url),
): PackageClass {
  const root = folders === undefined ? installedRoot(require) : chosenRoot(folders)
  try {
    return require(root)
  } catch {
    openLibrary([join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'libfuse.so')])
  }
  try {
    return require(root)
  } catch (error) {
    throw new FsError('ENOSYS', `the npm package ${NAME} cannot be loaded: ${remedy(error)}`, {
      cause: error,
    })
  }
}

function installedRoot(require: NodeJS.Require): string {
  try {
    return dirname(require.resolve(`${NAME}/package.json`))
  } catch (error) {
    throw new FsError(
      'ENOENT',
      `driver=${NAME} needs the npm package ${NAME}: install it beside this program with 'npm install --ignore-scripts ${NAME}@2.2.6', or name its folder with --driver-path`,
      { cause: error },
    )
  }
}

function chosenRoot(folders: readonly string[]): string {
  const root = folders
    .map((folder) => join(folder, NAME))
    .find((one) => existsSync(join(one, 'package.json')))
  if (root === undefined) {
    throw new FsError('ENOENT', `--driver-path ${folders.join(':')}: holds no folder ${NAME} with a package`)
  }
  return root
}

function remedy(error: unknown): string {
  const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
  if (message.includes('libfuse')) return `${message}: install libfuse 2 (on Debian the package libfuse2)`
  if (!message.includes('No native build')) return message
  return `it has no binary for ${process.arch}: build it with 'npm rebuild ${NAME}', which needs a C compiler`
}
