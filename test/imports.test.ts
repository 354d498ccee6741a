import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { ENTRIES } from '../src/threads.ts'

/**
 * Imports point down: each room may use itself and those listed for it, nothing else. Siblings (oci, fuse,
 * verity, overlay, the formats) never import each other.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'src/base': [],
  // Names of files, and how threads are started; imports none.
  'src/threads.ts': [],
  // Loads the programs, and is loaded by none.
  'src/loader.ts': ['src/threads.ts', 'src/sys'],
  'src/sys': ['src/base'],
  // Below all formats: tar layers and others use the same decoders.
  'src/codecs': ['src/sys', 'src/base'],
  squashfs: ['src/codecs', 'src/sys', 'src/base'],
  ext4: ['src/base'],
  puzzlefs: ['src/codecs', 'src/sys', 'src/base'],
  // An image file with others in it: a container, whose partitions are images of a kind.
  sif: ['src/sys', 'src/base'],
  // Its index holds the hash tree of the blob.
  tar: ['src/codecs', 'src/verity', 'src/sys', 'src/base'],
  overlay: ['src/sys', 'src/base'],
  'src/verity': ['src/sys', 'src/base'],
  // Encrypted images: what decrypts them, and what finds their keys.
  'src/crypt': ['src/sys', 'src/base'],
  'src/fuse': ['src/sys', 'src/base'],
  'src/oci': ['src/sys', 'src/base'],
  'src/transforms': ['src/crypt', 'src/verity', 'src/sys', 'src/base'],
  // The lists of formats and of containers: the only ones that see their doors.
  'src/kinds': ['squashfs', 'ext4', 'puzzlefs', 'sif', 'tar', 'src/crypt', 'src/oci', 'src/sys', 'src/base'],
  // Indexes of layers, made once.
  'src/store': ['tar', 'src/verity', 'src/sys', 'src/base'],
  'src/molecule': [
    'src/threads.ts',
    'src/store',
    'src/kinds',
    'src/transforms',
    'src/oci',
    'src/fuse',
    'src/crypt',
    'src/verity',
    'src/codecs',
    'overlay',
    // What signatures in a file cover, for `verify`.
    'sif',
    'src/sys',
    'src/base',
  ],
  // What a mount would show, without a mount.
  'src/contents': ['src/threads.ts', 'src/molecule', 'overlay', 'src/sys', 'src/base'],
  // Images are made without a mount, and a mount makes none.
  'src/make': [
    'src/threads.ts',
    'squashfs',
    'puzzlefs',
    'tar',
    'overlay',
    // What of a mount shows images that go into new ones.
    'src/contents',
    'src/molecule',
    'src/kinds',
    'src/oci',
    'src/codecs',
    'src/verity',
    'src/sys',
    'src/base',
  ],
  // Who speaks to the kernel: siblings, chosen in `index.ts`.
  'src/drivers': ['src/threads.ts', 'src/molecule', 'src/fuse', 'src/sys', 'src/base'],
  // What a mount is asked for: the same for the command line and the library, and checked where the daemon gets it.
  'src/request': ['src/drivers', 'src/molecule', 'src/fuse', 'src/crypt', 'src/sys', 'src/base'],
  'src/daemon': [
    'src/threads.ts',
    'src/request',
    'src/drivers',
    'src/molecule',
    'src/crypt',
    'src/sys',
    'src/base',
  ],
  // Mounts an image, and describes a container of it.
  'src/bundle': [
    'src/daemon',
    'src/request',
    'src/contents',
    'src/molecule',
    'src/oci',
    'src/sys',
    'src/base',
  ],
  'src/cli': [
    'src/bundle',
    'src/daemon',
    'src/request',
    'src/drivers',
    'src/make',
    'src/contents',
    'src/molecule',
    'src/crypt',
    'src/oci',
    'src/sys',
    'src/base',
  ],
  // What is for those who embed, and for nobody inside.
  'src/library': [
    'src/bundle',
    'src/daemon',
    'src/request',
    'src/make',
    'src/contents',
    'src/molecule',
    'src/kinds',
    'src/crypt',
    'src/oci',
    'src/verity',
    'squashfs',
    'sif',
    'src/sys',
    'src/base',
  ],
  'src/index.ts': [
    'src/library',
    'src/bundle',
    'src/request',
    'src/daemon',
    'src/make',
    'src/contents',
    'src/molecule',
    'src/base',
  ],
}

/**
 * Which files of a room others may import: a file, or a folder with all its files. Where nothing stands here, it is
 * `index.ts` alone.
 */
const DOORS: Readonly<Record<string, readonly string[]>> = {
  // One topic of system calls a file: a program loads those that it needs.
  'src/sys': ['events/', 'ffi/', 'files/', 'mounts/', 'plain/', 'process/'],
  // The launch line before an image is a function by itself, which needs no format.
  'src/kinds': ['kinds.ts', 'containers.ts', 'launch-line.ts'],
  // `kind.ts` is the format's entry in the list of kinds.
  squashfs: ['index.ts', 'kind.ts', 'write/index.ts'],
  // How names are stored, and owners written down, is for those who make layers and such files, too.
  overlay: ['index.ts', 'escapes.ts', 'records.ts'],
  ext4: ['kind.ts'],
  // The root hash of an index, without what makes one; and the places of members, for containers.
  tar: ['index.ts', 'kind.ts', 'format/trailer.ts', 'read/members.ts'],
  puzzlefs: ['kind.ts', 'write/index.ts'],
  // What encodes is loaded where images are made.
  'src/codecs': ['index.ts', 'encode/index.ts', 'frames/index.ts', 'inflate/index.ts', 'streams/index.ts'],
  // What makes hash trees, piece by piece.
  'src/verity': ['index.ts', 'tree-writer.ts', 'block-digest.ts'],
  // What finds keys is loaded where there is an encrypted image, by the command. A process that serves gets them.
  'src/crypt': [
    'index.ts',
    'unlock.ts',
    'report.ts',
    'tools.ts',
    'luks/magic.ts',
    'folder/',
    'keys/',
    'kdf/limits.ts',
  ],
  // A command that mounts reads SOURCE and its options first: 300 KB of code, and 835 KB through `index.ts` of these
  // three. The library reads images by `image-file.ts` without what mounts them.
  'src/molecule': ['index.ts', 'source.ts', 'image-file.ts', 'encryption/'],
  // The library looks up paths in images without what extracts them.
  'src/contents': ['index.ts', 'resolve-path.ts'],
  // A list of paths, which needs nothing of what makes images.
  'src/make': ['index.ts', 'selection/exclude-paths.ts'],
  // `container.ts` is its entry in the list of containers.
  'src/oci': ['index.ts', 'container.ts', 'digest.ts', 'write/index.ts'],
  'src/fuse': ['index.ts', 'protocol/kernel-options.ts'],
  // The daemon alone loads the check, and the package that it needs.
  'src/request': ['index.ts', 'schema.ts'],
  // What commands and the library ask of daemons, each by itself; a command that serves; what both tell in the same words.
  'src/daemon': [
    'client/',
    ...['life/foreground.ts', 'life/direct.ts', 'life/failure.ts', 'mount/readiness.ts'],
    // A client of a shared server, and that server.
    ...['shared/client.ts', 'shared/mount-server.ts', 'shared/start-server.ts'],
  ],
  'src/library': ['apptainer/index.ts', 'atomfs/index.ts', 'bundle/index.ts', 'keys/index.ts', 'prepare.ts'],
}

const ROOT = path.resolve(import.meta.dirname, '..')

/** Read for its version number. */
const MANIFEST = 'package.json'

function roomOf(file: string): string | undefined {
  return Object.keys(MAY_IMPORT).find((room) => file === room || file.startsWith(`${room}/`))
}

/** The door of a room that a file is, or lies in. */
function doorOf(file: string): string | undefined {
  const room = roomOf(file)!
  if (file === room) return room
  const name = file.slice(room.length + 1)
  const doors = DOORS[room] ?? ['index.ts']
  return doors.find((door) => name === door || (door.endsWith('/') && name.startsWith(door)))
}

function sourceFiles(folder: string): string[] {
  return fs
    .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}/${name}`)
}

function importsOf(file: string): string[] {
  const text = fs.readFileSync(path.join(ROOT, file), 'utf8')
  return [...text.matchAll(/\b(?:from|import)\s*\(?\s*'([@\w./:-]+)'/g)].map((match) => match[1]!)
}

/** What is loaded together with a file: no types, and nothing that waits for `import()`. */
function loadedWith(first: string): Set<string> {
  const loaded = new Set([first])
  for (const file of loaded) {
    const text = fs.readFileSync(path.join(ROOT, file), 'utf8')
    for (const [, , specifier] of text.matchAll(
      /^(?:import|export|\}) (?!type\b)([^;]*?from )?'(\.[^']+\.ts)'/gm,
    )) {
      loaded.add(path.posix.join(path.posix.dirname(file), specifier!))
    }
  }
  return loaded
}

/** The files of this project that a file imports. */
function targetsOf(file: string): string[] {
  return importsOf(file)
    .filter((name) => name.startsWith('.'))
    .map((name) => path.posix.join(path.posix.dirname(file), name))
    .filter((target) => target !== MANIFEST)
}

const FILES = ['src', 'squashfs', 'ext4', 'puzzlefs', 'sif', 'tar', 'overlay'].flatMap(sourceFiles)

describe('imports', () => {
  test('every source file belongs to a listed folder', () => {
    expect(FILES.filter((file) => roomOf(file) === undefined)).toEqual([])
    expect(FILES.length).toBeGreaterThan(50)
  })

  test('every import points to a lower folder', () => {
    const wrong: string[] = []
    for (const file of FILES) {
      const room = roomOf(file)!
      for (const target of targetsOf(file)) {
        const targetRoom = roomOf(target)
        const allowed =
          targetRoom !== undefined && (targetRoom === room || MAY_IMPORT[room]!.includes(targetRoom))
        if (!allowed) wrong.push(`${file} imports ${target}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('a folder is entered by its index.ts, or by another of its doors, and each door is in use', () => {
    const entered = FILES.flatMap((file) =>
      targetsOf(file)
        .filter((target) => roomOf(target) !== roomOf(file))
        .map((target) => ({ file, target })),
    )
    const wrong = entered.filter(({ target }) => doorOf(target) === undefined)
    expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([])
    const used = new Set(entered.map(({ target }) => `${roomOf(target)}: ${doorOf(target)}`))
    const listed = Object.entries(DOORS).flatMap(([room, doors]) => doors.map((door) => `${room}: ${door}`))
    expect(listed.filter((door) => !used.has(door))).toEqual([])
  })

  test('a command makes the request for a mount without the parts that serve it', () => {
    const loaded = [...loadedWith('src/cli/commands/mount.ts')]
    expect(loaded).toContain('src/request/mount-request.ts')
    const parts = [
      'overlay',
      'squashfs',
      'src/verity',
      'src/drivers',
      'src/molecule/open.ts',
      'src/request/schema.ts',
    ]
    expect(
      loaded.filter((file) => parts.some((part) => file === part || file.startsWith(`${part}/`))),
    ).toEqual([])
  })

  test('every import names built-ins with the node: prefix and packages of package.json', () => {
    const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
    const packages = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
    const wrong = FILES.flatMap((file) =>
      importsOf(file)
        .filter((name) => !name.startsWith('.') && !name.startsWith('node:') && !packages.includes(name))
        .map((name) => `${file} imports ${name}`),
    )
    expect(wrong).toEqual([])
  })

  test('foreign functions are imported through src/sys only', () => {
    const wrong = FILES.filter((file) => importsOf(file).includes('koffi') && roomOf(file) !== 'src/sys')
    expect(wrong).toEqual([])
  })

  test('package.json names the files that are loaded for their effects, and no build drops them', () => {
    const { sideEffects }: { sideEffects: string[] } = JSON.parse(
      fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'),
    )
    const forEffect = FILES.flatMap((file) =>
      [...fs.readFileSync(path.join(ROOT, file), 'utf8').matchAll(/^import '(\.[^']+)'/gm)].map((match) =>
        path.posix.join(path.posix.dirname(file), match[1]!),
      ),
    )
    const programs = ['src/cli/main.ts', ...Object.values(ENTRIES).map((entry) => `src/${entry}`)]
    const needed = new Set([...forEffect, ...programs])
    expect(needed).toContain('src/sys/plain/own-packages.ts')
    expect([...needed].filter((file) => !sideEffects.includes(`./${file}`))).toEqual([])
  })

  test('every import has a file extension', () => {
    const wrong = FILES.flatMap((file) =>
      importsOf(file)
        .filter((name) => name.startsWith('.') && !/\.(ts|json)$/.test(name))
        .map((name) => `${file} imports ${name}`),
    )
    expect(wrong).toEqual([])
  })

  test('source files have no import cycle', () => {
    const targets = new Map(FILES.map((file) => [file, targetsOf(file)]))
    // Files that import nothing which remains go away, until only circles and what leads to them are left.
    for (let before = -1; before !== targets.size; ) {
      before = targets.size
      for (const [file, names] of targets) {
        if (!names.some((name) => targets.has(name))) targets.delete(file)
      }
    }
    expect([...targets.keys()]).toEqual([])
  })
})

describe('drivers', () => {
  test('the two drivers do not import each other', () => {
    const wrong = FILES.filter((file) => file.startsWith('src/drivers/')).flatMap((file) => {
      const other = file.includes('/builtin/') ? 'fuse-native' : 'builtin'
      if (path.posix.dirname(file) === 'src/drivers') return []
      return importsOf(file).filter((name) => name.includes(`/${other}/`))
    })
    expect(wrong).toEqual([])
  })

  test('a mount by the builtin driver loads no file of fuse-native', () => {
    for (const entry of ['src/daemon/life/background.ts', 'src/daemon/life/foreground.ts']) {
      const loaded = [...loadedWith(entry)]
      expect(loaded).toContain('src/drivers/builtin/server.ts')
      expect(loaded.filter((file) => file.includes('/fuse-native/'))).toEqual([])
    }
  })
})

describe('folders', () => {
  /** Each folder that has folders in it: what its folders see of each other, the files beside them included. */
  function neighbours(folder: string): Map<string, Set<string>> {
    const nameOf = (file: string): string => {
      const [first = '', second] = file.slice(folder.length + 1).split('/')
      return second === undefined ? 'files beside them' : first
    }
    const sees = new Map<string, Set<string>>()
    for (const file of FILES.filter((name) => name.startsWith(`${folder}/`))) {
      if (file === `${folder}/index.ts`) continue
      const own = sees.get(nameOf(file)) ?? new Set<string>()
      sees.set(nameOf(file), own)
      for (const target of targetsOf(file)) {
        if (!target.startsWith(`${folder}/`) || nameOf(target) === nameOf(file)) continue
        own.add(nameOf(target))
      }
    }
    return sees
  }

  test('the device in src/fuse drives the protocol and takes answers out of the blocks', () => {
    const sees = neighbours('src/fuse')
    expect([...(sees.get('device') ?? [])].sort()).toEqual(['blocks', 'protocol'])
    for (const name of ['blocks', 'protocol']) expect([...(sees.get(name) ?? [])], name).toEqual([])
  })

  test.each([
    'overlay',
    'overlay/upper',
    'squashfs',
    'ext4',
    'puzzlefs',
    'src/fuse',
    'src/sys',
    'src/codecs',
    'src/drivers',
    'src/daemon',
    'src/bundle',
    'src/crypt',
    'src/cli',
    'src/library',
  ])('the folders side by side in %s have no import cycle', (parent) => {
    const sees = neighbours(parent)
    // Folders that see none of those that remain go away, until only circles are left.
    for (let before = -1; before !== sees.size; ) {
      before = sees.size
      for (const [name, seen] of sees) if (![...seen].some((other) => sees.has(other))) sees.delete(name)
    }
    expect(Object.fromEntries([...sees].map(([name, seen]) => [name, [...seen]]))).toEqual({})
  })

  test('no folder has more than 20 source files', () => {
    const counts = new Map<string, number>()
    for (const file of FILES) {
      const folder = path.posix.dirname(file)
      counts.set(folder, (counts.get(folder) ?? 0) + 1)
    }
    expect([...counts].filter(([, count]) => count > 20)).toEqual([])
  })
})
