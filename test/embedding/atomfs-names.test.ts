import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import * as atomfs from '../../src/index.ts'
import * as squashfs from '../../src/library/squashfs.ts'
import * as verity from '../../src/verity/index.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const PAGE = fs.readFileSync(path.join(ROOT, 'docs/atomfs-names.md'), 'utf8')
const PARTS: Readonly<Record<string, object>> = {
  'atomfs-fuse': atomfs,
  'atomfs-fuse/squashfs': squashfs,
  'atomfs-fuse/verity': verity,
}
/** Fields of the interfaces, which are gone when the program runs. */
const OPTIONS = fs.readFileSync(path.join(ROOT, 'src/library/atomfs/options.ts'), 'utf8')

interface Row {
  /** Of atomfs; empty for those that are listed together. */
  readonly package: string
  readonly part: string
  readonly theirs: readonly string[]
  readonly ours: string
  readonly difference: string
}

function quoted(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!)
}

const ROWS: Row[] = PAGE.split('\n## ').flatMap((section) => {
  const name = /^Package `(\w+)`/.exec(section)?.[1] ?? ''
  const part = /here, in `([\w/-]+)`/.exec(section)?.[1] ?? ''
  return [...section.matchAll(/^\| (.+) \| (`[\w.]+`|—) \| (.+) \|$/gm)].map(
    ([, theirs, ours, difference]) => ({
      package: name,
      part,
      theirs: quoted(theirs!),
      ours: ours === '—' ? '—' : quoted(ours!)[0]!,
      difference: difference!,
    }),
  )
})

function isOffered({ part, ours }: Row): boolean {
  const [name = '', member] = ours.split('.')
  const exports = PARTS[part] as Readonly<Record<string, unknown>>
  if (name === 'MountOciOptions') {
    const body = /export interface MountOciOptions \{([\s\S]*?)\n\}/.exec(OPTIONS)?.[1] ?? ''
    return member === undefined ? body !== '' : new RegExp(`readonly ${member}\\??:`).test(body)
  }
  const value = exports[name]
  if (member === undefined) return value !== undefined
  return (
    (value as { prototype: object }).prototype !== undefined && (member in molecule || member === 'atoms')
  )
}
const molecule: object = atomfs.Molecule.prototype

/**
 * What the packages export: the names of their types, fields, methods, functions. The empty one stands for those that
 * are listed together, each with the name of its package; of `erofs` nothing has a counterpart.
 */
const THEIRS: Readonly<Record<string, string>> = {
  molecule:
    'BuildMoleculeFromOCI MountOCIOpts MountOCIOpts.OCIDir MountOCIOpts.Tag MountOCIOpts.Target ' +
    'MountOCIOpts.AddWriteableOverlay MountOCIOpts.WriteableOverlayPath MountOCIOpts.AllowMissingVerityData ' +
    'MountOCIOpts.MetadataDir MountOCIOpts.AtomsPath MountOCIOpts.WriteToFile Molecule Molecule.Atoms ' +
    'Molecule.MetadataPath Molecule.MountedAtomsPath Molecule.Mount Umount UmountWithMetadir OverlayMountOptions',
  common:
    'EnsureDir PathExists ReplacePathSeparators GetMountNSName RuntimeDir TestOverrideRuntimeDirKey AmHostRoot ' +
    'IsEmptyDir Which FileChanged HostMount GuestMount FuseCmd Umount IsMountpoint IsMountedAtDir GetBackingDevice ' +
    'MaybeCleanupBackingDevice ExcludePaths NewExcludePaths ExcludePaths.AddExclude ExcludePaths.AddInclude ' +
    'ExcludePaths.String',
  verity:
    'AppendVerityData VerityRootHashAnnotation VerityRootHashAnnotation_Previous VerityHostMount VerityUnmount ' +
    'ConfirmExistingVerityDeviceHash ConfirmExistingVerityDeviceCurrentValidity VerityMetadata ' +
    'VerityMetadataPresent VerityMetadataMissing VeritySuffix CryptsetupTooOld',
  squashfs:
    'ExtractSingleSquash ExtractSingleSquashPolicy New UnsquashfsExtractor KernelExtractor SquashFuseExtractor Name ' +
    'IsAvailable Mount ExtractPolicy ExtractPolicy.Extractors ExtractPolicy.Extractor ExtractPolicy.Excuses ' +
    'NewExtractPolicy PolicyEnvName DefPolicies AllPolicies MakeSquashfs GenerateSquashfsMediaType ' +
    'SquashfsCompression GzipCompression ZstdCompression IsSquashfsMediaType BaseMediaTypeLayerSquashfs',
  '':
    'oci.LookupManifest oci.LookupConfig oci.UpdateImageConfig mount.Mount mount.Mounts mount.ParseMounts ' +
    'mount.FindMount mount.IsMountpoint Mounts.FindMount Mount.Source Mount.Target Mount.FSType Mount.Opts ' +
    'Mount.GetOverlayDirs fs.New fs.NewFromMediaType fs.SquashfsType fs.ErofsType types.FilesystemType ' +
    'types.Filesystem Filesystem.Make Filesystem.ExtractSingle Filesystem.Mount Filesystem.Umount ' +
    'types.FsExtractor FsExtractor.Name FsExtractor.IsAvailable FsExtractor.Mount erofs log.Debugf log.Infof ' +
    'log.Warnf log.Errorf log.Fatalf',
}

describe('docs/atomfs-names.md', () => {
  test.each(Object.entries(THEIRS))(
    'docs/atomfs-names.md has a row for each name of package %s',
    (name, list) => {
      const rows = ROWS.filter((row) => row.package === name).flatMap((row) => row.theirs)
      expect(rows.sort()).toEqual(list.split(' ').sort())
    },
  )

  test('docs/atomfs-names.md has a parsed row for each table line', () => {
    expect(ROWS.length).toBeGreaterThan(40)
    // Each table line but the heads and the rules under them is a row that was understood.
    const lines = PAGE.split('\n').filter(
      (line) => line.startsWith('| ') && !/^\| (---|atomfs \|)/.test(line),
    )
    expect(ROWS.length).toBe(lines.length)
  })

  test('docs/atomfs-names.md names only what the package exports', () => {
    expect(ROWS.filter((row) => row.ours !== '—' && !isOffered(row))).toEqual([])
  })

  test('docs/atomfs-names.md gives a reason for each name without a counterpart', () => {
    expect(ROWS.filter((row) => row.ours === '—' && row.difference.length < 10)).toEqual([])
  })

  test('docs/atomfs-names.md names every export that is made for atomfs', async () => {
    const made = Object.keys(await import('../../src/library/atomfs/index.ts'))
    const exported = made.filter((name) => name in atomfs)
    expect(exported.length).toBeGreaterThan(5)
    expect(exported.filter((name) => !ROWS.some((row) => row.ours === name))).toEqual([])
  })

  test('docs/atomfs-names.md lists each name of atomfs once for its package', () => {
    const seen = new Set<string>()
    const twice = ROWS.flatMap((row) => row.theirs.map((name) => `${row.part} ${name}`)).filter((name) => {
      const known = seen.has(name)
      seen.add(name)
      return known
    })
    // Two packages have a function of this name.
    expect(twice).toEqual(['atomfs-fuse Umount'])
  })
})
