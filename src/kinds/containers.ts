import type { Stats } from 'node:fs'
import { type Container, FsError, type PathText } from '../base/index.ts'
import { OCI_LAYOUT } from '../oci/container.ts'
import { DOCKER_ARCHIVE, OCI_ARCHIVE } from './archives/index.ts'
import { BARE_FILE } from './bare-file.ts'
import { GOCRYPTFS_FOLDER } from './gocryptfs-folder.ts'
import { PLAIN_DIRECTORY } from './plain-directory.ts'
import { SIF_FILE } from './sif-file.ts'

/** All that SOURCE may lead to: the only list of it. The first one that can read a SOURCE has it. */
const CONTAINERS: Container[] = [
  OCI_LAYOUT,
  DOCKER_ARCHIVE,
  OCI_ARCHIVE,
  GOCRYPTFS_FOLDER,
  SIF_FILE,
  BARE_FILE,
  PLAIN_DIRECTORY,
]

/** Adds a container, which is asked before those that are there. The command and the daemon must both do it. */
export function registerContainer(container: Container): void {
  if (!CONTAINERS.includes(container)) CONTAINERS.unshift(container)
}

/** All of them, in the order in which they are asked. */
export function knownContainers(): readonly Container[] {
  return CONTAINERS
}

/** @param name what `NamedSource.container` says. @throws FsError EINVAL */
export function containerNamed(name: string): Container {
  const container = CONTAINERS.find((one) => one.name === name)
  if (container === undefined)
    throw new FsError('EINVAL', `no container ${JSON.stringify(name)} in this program`)
  return container
}

/**
 * What may have a path, by its content, in the order in which they are to be asked: two formats can lie in one directory.
 * @param stats of the path, links followed
 */
export function containersAt(path: PathText, stats: Stats): readonly Container[] {
  return CONTAINERS.filter((one) => one.onlyByPrefix !== true && one.claims(path, stats))
}
