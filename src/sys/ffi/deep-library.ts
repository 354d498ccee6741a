import { constants } from 'node:os'
import type { ForeignFunction, SharedLibrary } from './ffi.ts'
import { koffi } from './koffi.ts'

/** Libraries we open that the node executable may contain, too, by their name in `process.versions`. */
const OWN_OF_NODE: Readonly<Record<string, string>> = {
  'libz.so.1': 'zlib',
  'libzstd.so.1': 'zstd',
}

/**
 * Opens a shared library so that calls inside of it stay inside (RTLD_DEEPBIND, dlopen(3)). Otherwise they go to
 * functions of the same name that node exports from the copy it contains, of another version: with Node 22 and
 * 24, which contain zstd, libzstd then ends the process with a segmentation fault. musl has no such binding;
 * there a library that node contains is not opened.
 * @returns undefined where the machine does not have it, or it would not be safe
 */
export function openLibraryDeeply(name: string): SharedLibrary | undefined {
  const canBindDeeply = constants.dlopen.RTLD_DEEPBIND !== undefined
  const twin = OWN_OF_NODE[name]
  if (!canBindDeeply && twin !== undefined && process.versions[twin] !== undefined) return undefined
  try {
    const library = koffi.load(name, { deep: true })
    return { name, bind: (prototype) => library.func(prototype) as ForeignFunction }
  } catch {
    // Absent: the caller has another tier.
    return undefined
  }
}
