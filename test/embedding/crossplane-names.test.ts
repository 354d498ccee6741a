import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import * as library from '../../src/index.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const read = (file: string): string => fs.readFileSync(path.join(ROOT, file), 'utf8')
const PAGE = read('docs/crossplane-names.md')
/** With the types, which are gone when the program runs. */
const EXPORTED: readonly string[] = JSON.parse(read('test/embedding/exports.json'))['.']
/** The tests that use what the library has of it. */
const USES = ['test/system/bundle-library.test.ts', 'test/system/layer-library.test.ts'].map(read).join('\n')

interface Row {
  readonly package: string
  readonly theirs: readonly string[]
  /** A name, or a dash. */
  readonly ours: string
  readonly difference: string
}

const quoted = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]!)

const ROWS: Row[] = PAGE.split('\n## ').flatMap((section) => {
  const name = /^Package `([\w/]+)`/.exec(section)?.[1] ?? ''
  return [...section.matchAll(/^\| (.+) \| (`[\w.]+`|—) \|(?: (.+))? \|$/gm)].map(
    ([, theirs, ours, difference = '']) => ({
      package: name,
      theirs: quoted(theirs!),
      ours: ours === '—' ? '—' : quoted(ours!)[0]!,
      difference,
    }),
  )
})

/** What the packages export: types, fields, methods, functions, constants; without messages of errors. */
const THEIRS: Readonly<Record<string, string>> = {
  'store/overlay':
    'Supported LayerResolver LayerResolver.Resolve TarballApplicator TarballApplicator.Apply BundleBootstrapper ' +
    'BundleBootstrapper.Bootstrap BundleBootstrapperFn BundleBootstrapperFn.Bootstrap RuntimeSpecWriter ' +
    'RuntimeSpecWriter.Write RuntimeSpecWriterFn RuntimeSpecWriterFn.Write CachingBundler NewCachingBundler ' +
    'CachingBundler.Bundle CachingLayerResolver NewCachingLayerResolver CachingLayerResolver.Resolve Bundle ' +
    'BootstrapBundle Bundle.Path Bundle.Cleanup Mount Mount.Mount Mount.Unmount TmpFSMount TmpFSMount.Mountpoint ' +
    'TmpFSMount.Mount TmpFSMount.Unmount OverlayMount OverlayMount.Mountpoint OverlayMount.Lower ' +
    'OverlayMount.Upper OverlayMount.Work OverlayMount.Mount OverlayMount.Unmount LayerWorkdir NewOverlayMountFn ' +
    'WorkDirOptions WorkDirOptions.NewOverlayMount NewLayerWorkdirOption WithNewOverlayMountFn ' +
    'DefaultNewOverlayMount NewLayerWorkdir LayerWorkdir.ApplyPath LayerWorkdir.ResultPath LayerWorkdir.Cleanup',
  store:
    'Bundler Bundler.Bundle Bundle Bundle.Path Bundle.Cleanup DirDigests DirImages DirOverlays DirContainers ' +
    'DirRootFS FileConfig FileSpec MaxLayers Validate Digest NewDigest Digest.Hash Digest.WriteHash Image NewImage ' +
    'Image.Image Image.WriteImage Image.Layer Image.WriteLayer',
  'store/uncompressed':
    'TarballApplicator TarballApplicator.Apply RuntimeSpecWriter RuntimeSpecWriter.Write RuntimeSpecWriterFn ' +
    'RuntimeSpecWriterFn.Write Bundler NewBundler Bundler.Bundle Bundle Bundle.Path Bundle.Cleanup',
  layer:
    'HeaderHandler HeaderHandler.Handle HeaderHandlerFn HeaderHandlerFn.Handle StackingExtractor ' +
    'NewStackingExtractor StackingExtractor.Apply WhiteoutHandler NewWhiteoutHandler WhiteoutHandler.Handle ' +
    'ExtractHandler NewExtractHandler ExtractHandler.Handle ExtractDir ExtractSymlink ExtractFile ExtractFIFO',
  spec:
    'Option New Write WithRootFS WithCPULimit WithMemoryLimit WithHostNetwork WithImageConfig WithUser ' +
    'WithUserOnly WithUserAndGroup Username Groupname UID GID UnknownUID UnknownGID Passwd Passwd.UID Passwd.GID ' +
    'Passwd.Groups Groups Groups.PrimaryGID Groups.AdditionalGIDs ParsePasswdFiles ParsePasswd',
  oci:
    'ImagePullPolicy ImagePullPolicyIfNotPresent ImagePullPolicyAlways ImagePullPolicyNever ImagePullAuth ' +
    'ImagePullAuth.Username ImagePullAuth.Password ImagePullAuth.Auth ImagePullAuth.IdentityToken ' +
    'ImagePullAuth.RegistryToken ImagePullAuth.Authorization ImageClientOptions ImageClientOption WithPullPolicy ' +
    'WithPullAuth ImageClient ImageClient.Image ImageCache ImageCache.Image ImageCache.WriteImage HashCache ' +
    'HashCache.Hash HashCache.WriteHash RemoteClient RemoteClient.Image CachingPuller NewCachingPuller ' +
    'CachingPuller.Image',
}

/** Fields of instances, which a prototype does not have. */
const FIELDS = new Set(['Bundle.path'])

function isOffered(ours: string): boolean {
  const [name = '', member] = ours.split('.')
  if (!EXPORTED.includes(name)) return false
  if (member === undefined || FIELDS.has(ours)) return true
  const value = (library as Readonly<Record<string, unknown>>)[name] as
    | { readonly prototype: object }
    | undefined
  return value !== undefined && (member in value || member in value.prototype)
}

describe('docs/crossplane-names.md', () => {
  test.each(Object.entries(THEIRS))('has a row for each name of package %s', (name, list) => {
    const rows = ROWS.filter((row) => row.package === name).flatMap((row) => row.theirs)
    expect(rows.sort()).toEqual(list.split(' ').sort())
  })

  test('has a parsed row for each table line', () => {
    const isLine = (line: string): boolean => line.startsWith('| ') && !/^\| (---|crossplane \|)/.test(line)
    expect(ROWS.length).toBe(PAGE.split('\n').filter(isLine).length)
  })

  test('names only what the library exports, and gives a reason for what it does not have', () => {
    expect(ROWS.filter(({ ours }) => ours !== '—' && !isOffered(ours)).map(({ ours }) => ours)).toEqual([])
    expect(ROWS.filter(({ ours, difference }) => ours === '—' && difference.length < 10)).toEqual([])
  })

  test('names every export that is made for crossplane', async () => {
    const made = Object.keys(await import('../../src/library/bundle/index.ts'))
    const named = new Set(ROWS.map(({ ours }) => ours.split('.')[0]))
    // Those that crossplane has no name for: any option, and the layers that its image library gives.
    const further = ['openImageLayers', 'withSpecOptions']
    expect(made.filter((name) => !named.has(name) && !further.includes(name))).toEqual([])
  })

  test('every row with a counterpart has a test that uses it', () => {
    const unused = ROWS.filter(({ ours }) => ours !== '—').filter(({ ours }) => {
      const word = ours.split('.').at(-1)!
      return !new RegExp(`\\b${word}\\b`).test(USES)
    })
    expect(unused.map(({ ours }) => ours)).toEqual([])
  })
})
