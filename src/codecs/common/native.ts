import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'
import { openLibraryDeeply } from '../../sys/ffi/deep-library.ts'
import type { SharedLibrary } from '../../sys/ffi/ffi.ts'
import { heldFfi } from '../../sys/ffi/koffi.ts'

const requireHere = createRequire(import.meta.url)
const libraries = new Map<string, SharedLibrary | undefined>()

/**
 * Whether a thread decodes with packages: now, or perhaps later. Their files are found by paths, so a thread that does
 * the same work has to be started while paths can be resolved.
 */
export type PackageNeed = 'none' | 'later' | 'now'

let need: PackageNeed = 'none'

/** That of this thread. */
export function packageNeed(): PackageNeed {
  return need
}

/** To be called for a decoder that may load a package later. */
export function mayNeedPackages(): void {
  if (need === 'none') need = 'later'
}

let refuses = false

/**
 * This thread and those that work for it load no packages: an image without another decoder is refused when it is opened,
 * and not when its first block is read by a thread that may resolve no path.
 */
export function refusePackages(): void {
  refuses = true
}

/** Runs `release` when this thread ends and the process goes on: a library does not know that its user is gone. */
export function atThreadEnd(release: () => void): void {
  if (!isMainThread) process.once('exit', release)
}

/** A shared library of the machine, opened once per thread. @returns undefined where there is none */
export function systemLibrary(name: string): SharedLibrary | undefined {
  if (!libraries.has(name)) libraries.set(name, openLibraryDeeply(name))
  return libraries.get(name)
}

/**
 * Loads a package when a codec wants it, not at start-up. `require` keeps it synchronous and out of bundles.
 * @returns undefined where it is not installed, does not load on this machine, or this thread may resolve no path
 */
export function loadPackage(name: string): unknown {
  if (refuses || heldFfi() !== undefined) return undefined
  try {
    const loaded: unknown = requireHere(name)
    need = 'now'
    return loaded
  } catch {
    return undefined
  }
}

/** Name and version of an installed package, for messages. */
export function packageLabel(name: string): string {
  const manifest = loadPackage(`${name}/package.json`) as { readonly version?: string } | undefined
  return manifest?.version === undefined ? name : `${name} ${manifest.version}`
}

/** Name and version of a library that says its version, for messages. @param prototype of a function without arguments */
export function libraryLabel(library: SharedLibrary, prototype: string): string {
  return `${library.name} ${String(library.bind(prototype)())}`
}

/** A part of Node, with the version of the library that it was built with. */
export function nodeLabel(part: string, library: string): string {
  const version = process.versions[library]
  return version === undefined ? part : `${part} ${version}`
}

/** The file of an installed package. @throws where it is not installed */
export function packageFile(name: string): string {
  return requireHere.resolve(name)
}

/**
 * A `size_t` that C reads and writes. Eight bytes in the machine's own order are right for 32-bit machines
 * too: all of those with Node are little-endian and leave the upper half zero.
 */
export class SizeCell {
  readonly bytes: Uint8Array
  readonly #words = new BigUint64Array(1)

  constructor() {
    this.bytes = new Uint8Array(this.#words.buffer)
  }

  get value(): number {
    return Number(this.#words[0])
  }

  set value(size: number) {
    this.#words[0] = BigInt(size)
  }
}
