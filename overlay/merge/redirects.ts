import { DT_DIR, FsError, type Name } from '../../src/base/index.ts'
import type { Layer, LayerEntry } from '../stored/layer-flags.ts'
import { isMarked, opacityAmong } from '../stored/whiteout.ts'
import { type Part, Parts } from './parts.ts'

/** In order of preference: the kernel's as root, and that of overlays with the attributes of users. */
export const REDIRECT_ATTRIBUTES: readonly Name[] = ['trusted.overlay.redirect', 'user.overlay.redirect']

/**
 * The names that a value of `overlay.redirect` consists of: a path from the root of the layers, or one other name in the
 * same directory (overlayfs.rst, "redirect_dir").
 * @returns undefined for a value that is neither
 */
export function redirectNames(redirect: Name): readonly Name[] | undefined {
  const names = redirect.startsWith('/') ? redirect.slice(1).split('/') : [redirect]
  const isName = (part: Name) => part !== '' && part !== '.' && part !== '..' && !/[/\0]/.test(part)
  return names.every(isName) ? names : undefined
}

/** Where the layers below have the rest of a directory. */
export interface Redirect {
  readonly names: readonly Name[]
  /** The names count from the roots of the layers; otherwise from the directory that holds the redirected one. */
  readonly absolute: boolean
}

/**
 * Where a directory of a layer, renamed in an overlay, has what lies below it. It is never looked for at the place where
 * the directory is now: shown so, it would have lost it without a word.
 * @returns undefined for a directory that was not renamed, or is opaque
 * @throws FsError EIO where redirects of this layer are not followed, or it is no redirect
 */
export function redirectOf(layer: Layer, entry: LayerEntry): Redirect | undefined {
  const present = layer.listxattr(entry.ref)
  const attribute = REDIRECT_ATTRIBUTES.find((name) => present.includes(name))
  if (attribute === undefined) return undefined
  if (opacityAmong(present, (name) => layer.getxattr(entry.ref, name)) === 'y') return undefined
  const where = `layer ${layer.label}: directory ${JSON.stringify(entry.name)}`
  if (layer.followsRedirects !== true) {
    const advice = layer.followsRedirects === false ? '; mount with redirect_dir=follow' : ''
    throw new FsError(
      'EIO',
      `${where} was renamed in an overlay (${attribute}), and what it has in the layers below is not looked for at its old place${advice}`,
    )
  }
  const value = Buffer.from(layer.getxattr(entry.ref, attribute) ?? []).toString('latin1')
  const names = redirectNames(value)
  if (names !== undefined) return { names, absolute: value.startsWith('/') }
  throw new FsError('EIO', `${where}: ${attribute} ${JSON.stringify(value)} is neither a path nor a name`)
}

/**
 * The directories that continue a redirected one in the layers below, topmost first. Each layer is walked once, name by
 * name; a redirect that is met there changes the names for the layers below it (fs/overlayfs/namei.c:ovl_lookup,
 * ovl_lookup_layer).
 * @param parts of the directory that holds the redirected one
 * @param depth of the part that holds it
 * @param roots of the layers
 */
export function redirectedParts(
  layers: readonly Layer[],
  roots: Parts,
  parts: Parts,
  depth: number,
  redirect: Redirect,
): readonly Part[] {
  const found: Part[] = []
  let { names, absolute } = redirect
  for (let index = parts.layerIndex(depth) - 1; index >= 0; index--) {
    const start = (absolute ? roots : parts).partOfLayer(index)
    if (start === undefined) continue
    const step = walkLayer(layers, start, names)
    if (step.part !== undefined) found.push(step.part)
    if (step.ends) break
    names = step.names
    absolute ||= step.absolute
  }
  return found
}

/** What one layer has at a path, and how the walk goes on below it. */
interface Step extends Redirect {
  /** The directory at the end of the path, where the layer has it. */
  readonly part: Part | undefined
  /** Nothing of the layers below is seen through this one. */
  readonly ends: boolean
}

/** @throws FsError EIO */
function walkLayer(layers: readonly Layer[], start: Part, names: readonly Name[]): Step {
  const parts = new Parts(layers, [start])
  const layer = parts.layer(0)
  let { ref } = start
  let below: Name[] = []
  let absolute = false
  let ends = false
  for (const [at, name] of names.entries()) {
    const entry = layer.lookup(ref, name)
    ends ||= isMarked(layer, ref, name)
    if (entry === undefined) return { part: undefined, names: [...below, ...names.slice(at)], absolute, ends }
    // A whiteout is no directory either.
    if (entry.type !== DT_DIR) return { part: undefined, names, absolute, ends: true }
    ref = entry.ref
    const opaque = new Parts(layers, [{ layer: start.layer, ref }]).isOpaque(0)
    ends ||= opaque
    // Nothing lies below the lowest layer.
    const redirect = opaque || start.layer === 0 ? undefined : redirectOf(layer, entry)
    if (redirect?.absolute === true) {
      // It leads out of a directory above that is opaque.
      ends = false
      absolute = true
      below = []
    }
    below.push(...(redirect?.names ?? [name]))
  }
  return { part: { layer: start.layer, ref }, names: below, absolute, ends }
}
