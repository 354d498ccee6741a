import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { run } from './process.ts'

const ROOT = resolve(import.meta.dirname, '../../..')

/** What the build and `npm pack` read. */
const FOLDERS = [
  'bin',
  'docs',
  'examples',
  'ext4',
  'overlay',
  'puzzlefs',
  'scripts',
  'sif',
  'squashfs',
  'src',
  'tar',
]
const CONFIGURATION = ['package.json', 'package-lock.json', 'tsconfig.json']

/** A file of the packed package. */
export interface PackedFile {
  readonly path: string
  /** Bytes. */
  readonly size: number
  /** Permissions in the archive. */
  readonly mode: number
}

/** A project that has this package installed, as `npm install` of its archive leaves it. */
export interface InstalledPackage {
  /** Folder of the project. */
  readonly project: string
  /** Folder of the package in it. */
  readonly folder: string
  readonly files: readonly PackedFile[]
  /** Bytes of the archive. */
  readonly archiveSize: number
}

/**
 * Builds and packs a copy of the sources as `npm publish` does, and installs the archive into a project of its own: beside
 * it only the packages that it depends on, whose scripts never ran, and the types of Node.
 * @param place an empty folder
 */
export async function installPackage(place: string): Promise<InstalledPackage> {
  const copy = join(place, 'sources')
  copySources(copy)
  await run(process.execPath, ['scripts/build.mjs', '--types'], { cwd: copy, timeout: 200_000 })
  // The build is what npm would run as `prepack`; its output would mix with the list.
  const { stdout } = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', place], {
    cwd: copy,
    env: { npm_config_cache: join(place, 'npm'), npm_config_update_notifier: 'false' },
    timeout: 120_000,
  })
  const [report]: { filename: string; size: number; files: PackedFile[] }[] = JSON.parse(stdout)
  const project = join(place, 'project')
  const folder = join(project, 'node_modules', 'atomfs-fuse')
  mkdirSync(folder, { recursive: true })
  await run('tar', ['-xzf', join(place, report!.filename), '-C', folder, '--strip-components=1'])
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }')
  for (const name of productionPackages()) link(join(ROOT, name), join(project, name))
  link(join(ROOT, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'))
  return { project, folder, files: report!.files, archiveSize: report!.size }
}

function copySources(copy: string): void {
  mkdirSync(copy)
  const documents = (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { files: string[] })
    .files
  for (const name of [...FOLDERS, ...CONFIGURATION, ...documents.filter((one) => /^[A-Z]/.test(one))]) {
    cpSync(join(ROOT, name), join(copy, name), {
      recursive: true,
      filter: (source) => source !== join(ROOT, 'docs/api'),
    })
  }
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
}

/** Folders of the packages that an installation without development dependencies has, from the root of this one. */
function productionPackages(): string[] {
  const lock: { packages: Record<string, { dev?: boolean; devOptional?: boolean; peer?: boolean }> } =
    JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
  return Object.entries(lock.packages)
    .filter(([, { dev, devOptional, peer }]) => !dev && !devOptional && !peer)
    .map(([name]) => name)
    .filter((name) => /^node_modules\/(@[^/]+\/)?[^/]+$/.test(name) && existsSync(join(ROOT, name)))
}

function link(to: string, from: string): void {
  mkdirSync(dirname(from), { recursive: true })
  symlinkSync(to, from)
}
