import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import * as atomfs from '../../src/index.ts'
import * as apptainer from '../../src/library/apptainer/index.ts'

const ROOT = path.resolve(import.meta.dirname, '../..')
const FOLDER = path.join(ROOT, 'src/library/apptainer')
const PAGE = fs.readFileSync(path.join(ROOT, 'docs/apptainer-names.md'), 'utf8')

/** Interfaces are gone when the program runs: these files have their fields. */
const TYPES = ['image-json.ts', 'driver-types.ts']
  .map((name) => fs.readFileSync(path.join(FOLDER, name), 'utf8'))
  .join('\n')

interface Row {
  readonly theirs: readonly string[]
  /** Absent: there is none. */
  readonly ours?: string
  readonly difference: string
}

const ROWS: Row[] = [...PAGE.matchAll(/^\| (`.+?`) \| (`[\w.]+`|—) \| (.+) \|$/gm)].map(
  ([, theirs, ours, difference]) => ({
    theirs: [...theirs!.matchAll(/`([^`]+)`/g)].map((match) => match[1]!),
    ...(ours === '—' ? {} : { ours: ours!.slice(1, -1) }),
    difference: difference!,
  }),
)

/** What the package exports in 1.2.4: names of constants, types, fields, methods, functions. */
const THEIRS =
  'Init Image Image.Partitions Image.Sections Image.Path Image.Name Image.Source Image.Type Image.File Image.Fd ' +
  'Image.Writable Image.Usage Image.AuthorizedPath Image.AuthorizedOwner Image.AuthorizedGroup ' +
  'Image.GetAllPartitions Image.GetRootFsPartition Image.GetRootFsPartitions Image.GetOverlayPartitions ' +
  'Image.GetDataPartitions Image.HasEncryptedRootFs Image.ReInit ImageFormat.Root Section Section.Name ' +
  'Section.Size Section.Offset Section.ID Section.Type Section.AllowedUsage SQUASHFS EXT3 SANDBOX SIF ' +
  'ENCRYPTSQUASHFS RAW GOCRYPTFSSQUASHFS Usage RootFsUsage OverlayUsage DataUsage RootFs SIFDescOCIConfigJSON ' +
  'SIFDescInspectMetadataJSON CheckSquashfsHeader GetSquashfsComp CheckExt3Header NewPartitionReader ' +
  'NewSectionReader ErrNoPartition ErrNoSection ErrUnknownFormat IsReadOnlyFilesytem ResolvePath RegisterDriver ' +
  'GetDriver Driver Driver.Mount Driver.Start Driver.Stop Driver.Features DriverFeature ImageFeature ' +
  'OverlayFeature FuseFeature MountFunc MountParams MountParams.Source MountParams.Target ' +
  'MountParams.Filesystem MountParams.Flags MountParams.Offset MountParams.Size MountParams.Key ' +
  'MountParams.FSOptions DriverParams DriverParams.SessionPath DriverParams.UsernsFd DriverParams.FuseFd ' +
  'DriverParams.Config'

const LATER =
  'IsReadOnlyFilesystem Image.EncryptedRootFs ErrNotValidExt3Image SquashFeature Ext3Feature GocryptFeature ' +
  'Driver.MountErr TAR OverlayBaseHashFile GetOverlayBaseHash'

const image: object = apptainer.Image.fromJson({
  ...{ partitions: [], sections: [], path: '/x', name: 'x', source: '', type: 0, fd: -1 },
  ...{ writable: false, usage: 0 },
})

function isOffered(ours: string): boolean {
  const [name = '', member] = ours.split('.')
  const value = (atomfs as Readonly<Record<string, unknown>>)[name]
  if (name === 'Image') return member === undefined || member in image
  if (value !== undefined) return member === undefined || Object.hasOwn(value as object, member)
  const body = new RegExp(`export interface ${name} [^{]*\\{([\\s\\S]*?)\\n\\}`).exec(TYPES)?.[1]
  if (member !== undefined) return new RegExp(`^  (?:readonly )?${member}\\??[:(]`, 'm').test(body ?? '')
  return body !== undefined || TYPES.includes(`export type ${name} =`)
}

describe('docs/apptainer-names.md', () => {
  test('it has one row for each name of the package, of 1.2.4 and of later versions', () => {
    const rows = ROWS.flatMap(({ theirs }) => theirs)
    expect(rows.sort()).toEqual([...THEIRS.split(' '), ...LATER.split(' ')].sort())
    // Each table line but the heads and the rules under them is a row that was understood.
    const lines = PAGE.split('\n').filter((line) => /^\| /.test(line) && !/^\| (---|Apptainer)/.test(line))
    expect(ROWS.length).toBe(lines.length)
  })

  test('it names only what the package exports, and gives a reason for what has no counterpart', () => {
    expect(ROWS.filter(({ ours }) => ours !== undefined && !isOffered(ours))).toEqual([])
    expect(ROWS.filter(({ ours, difference }) => ours === undefined && difference.length < 10)).toEqual([])
    expect(isOffered('Image.nothing') || isOffered('Section.nothing') || isOffered('IMAGE_TYPE.TAR')).toBe(
      false,
    )
  })

  test('it names every export that is made for Apptainer', () => {
    const made = Object.keys(apptainer).filter((name) => name !== 'ReadOnlyImageError')
    const named = new Set(ROWS.flatMap(({ ours }) => (ours === undefined ? [] : [ours.split('.')[0]])))
    expect(made.length).toBeGreaterThan(15)
    expect(made.filter((name) => !named.has(name))).toEqual([])
    expect(Object.keys(apptainer).filter((name) => !(name in atomfs))).toEqual([])
  })
})
