import { endianness } from 'node:os'
import { FsError } from '../base/index.ts'
import { quote } from './digest.ts'

/** What an entry of an image index is made for (image-index.md, `platform`): names as Go has them. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string | undefined
}

/** Names of architectures that Node and the image specification spell differently. */
const ARCHITECTURE_OF_NODE: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: endianness() === 'LE' ? 'ppc64le' : 'ppc64',
  mipsel: 'mipsle',
}

/** Variants that say the same as none (image-index.md, table of variants; amd64 v1 is the baseline). */
const BASE_VARIANT: Readonly<Record<string, string>> = { arm64: 'v8', amd64: 'v1' }

/** linux on the architecture of this machine. */
export function hostPlatform(): Platform {
  return { os: 'linux', architecture: ARCHITECTURE_OF_NODE[process.arch] ?? process.arch }
}

/** Parses `os/architecture[/variant]`. @throws FsError EINVAL */
export function parsePlatform(text: string): Platform {
  const match = /^([\w.-]+)\/([\w.-]+)(?:\/([\w.-]+))?$/.exec(text)
  const [, os, architecture, variant] = match ?? []
  if (os === undefined || architecture === undefined) {
    throw new FsError(
      'EINVAL',
      `platform ${quote(text)}: expected os/architecture[/variant], such as linux/amd64`,
    )
  }
  return { os, architecture, variant }
}

/** As programs of containers write it: `os/architecture` or `os/architecture/variant`. */
export function formatPlatform(platform: Platform): string {
  const { os, architecture, variant } = platform
  return variant ? `${os}/${architecture}/${variant}` : `${os}/${architecture}`
}

/** A wanted platform without a variant takes any variant; otherwise the variants must mean the same. */
export function matchesPlatform(wanted: Platform, offered: Platform): boolean {
  if (wanted.os !== offered.os || wanted.architecture !== offered.architecture) return false
  if (!wanted.variant) return true
  return effectiveVariant(wanted) === effectiveVariant(offered)
}

function effectiveVariant(platform: Platform): string {
  return platform.variant || (BASE_VARIANT[platform.architecture] ?? '')
}
