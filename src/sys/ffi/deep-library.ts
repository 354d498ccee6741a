import { constants } from 'node:os'
import { type ForeignFunction, ownSymbols, type SharedLibrary } from './ffi.ts'
import { koffi } from './koffi.ts'

/** Libraries of this project that the node executable may contain as well, by their name in `process.versions`. */
const OWN_OF_NODE: Readonly<Record<string, string>> = {
  'libz.so.1': 'zlib',
  'libzstd.so.1': 'zstd',
}

let dlopen: ForeignFunction | undefined

/**
 * Opens a shared library so that calls inside of it stay inside (RTLD_DEEPBIND, dlopen(3)). Without it they go to
 * functions of the same name that node exports from its own copy, of another version. With Node 22 and 24, which
 * contain zstd, libzstd then ends the process with a segmentation fault. musl has no such binding: there a library that
 * node contains is not opened. The library stays loaded for the life of the process.
 * @returns undefined where the machine lacks the library, or opening it is not safe
 */
export function openLibraryDeeply(name: string): SharedLibrary | undefined {
  const canBindDeeply = constants.dlopen.RTLD_DEEPBIND !== undefined
  const twin = OWN_OF_NODE[name]
  if (!canBindDeeply && twin !== undefined && process.versions[twin] !== undefined) return undefined
  try {
    const library = koffi.load(name, { deep: true })
    keepLoaded(name)
    return { name, bind: (prototype) => library.func(prototype) as ForeignFunction }
  } catch {
    // Absent: the caller falls back to another implementation.
    return undefined
  }
}

/**
 * koffi closes its libraries when their thread ends. A later thread may be one that can resolve no path
 * (docs/adr/0033-workers-on-demand.md): it finds by its name only what is loaded.
 */
function keepLoaded(name: string): void {
  dlopen ??= ownSymbols().bind('void *dlopen(const char *name, int flags)')
  dlopen(name, constants.dlopen.RTLD_LAZY)
}
