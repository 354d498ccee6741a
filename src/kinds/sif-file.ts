import { closeSync, constants, openSync, readSync } from 'node:fs'
import {
  choosePartitions,
  encryptionOf,
  FILE_SYSTEM,
  listSif,
  looksLikeSif,
  MAGIC_END,
  objectById,
  objectTitle,
  readSif,
  type Sif,
  type SifObject,
  signedDigestsOf,
} from '../../sif/index.ts'
import {
  type ByteSource,
  type Container,
  errnoCodeOf,
  type FindRequest,
  type FoundFiles,
  FsError,
  type ImageFile,
  type NamedSource,
  omitUndefined,
  type PathText,
  systemPath,
  UsageError,
} from '../base/index.ts'
import { isHeaderMagic } from '../crypt/luks/magic.ts'
import { hostPlatform } from '../oci/index.ts'
import { FileSource } from '../sys/files/file-source.ts'
import { absolutePath } from '../sys/files/working-directory.ts'
import { BARE_FILE } from './bare-file.ts'
import { isOciSif, ociLayers } from './sif-oci.ts'

/** What a kind may look at to tell its images, bytes. */
const HEAD_BYTES = 4096

/** Machines that run programs of a sibling. */
const SIBLINGS: Readonly<Record<string, string>> = {
  amd64: '386',
  arm64: 'arm',
  mips64: 'mips',
  mips64le: 'mipsle',
}

/** A SIF of Singularity and Apptainer: partitions in one file, or an OCI image in one file. */
export const SIF_FILE: Container = {
  name: 'sif',
  title: 'a SIF file',
  claims: (path, stats) => stats.isFile() && beginsLikeSif(path),
  read(path, rest) {
    const source = { container: 'sif', path: absolutePath(path) }
    if (rest === undefined) return source
    return /^\d{1,10}$/.test(rest) ? { ...source, tag: String(Number(rest)) } : undefined
  },
  describe: ({ path, tag }) => (tag === undefined ? path : `${path}:${tag}`),
  // Whoever knows the byte means the image there, not the file around it.
  atOffset({ path, tag, overlays }, offset) {
    if (tag === undefined && overlays === undefined)
      return BARE_FILE.atOffset({ container: BARE_FILE.name, path }, offset)
    throw new UsageError('offset= and a partition both say what is meant: give one of them')
  },
  withParts(source, { partition, overlays }) {
    const { tag } = source
    if (partition !== undefined && tag !== undefined && tag !== String(partition)) {
      throw new UsageError(`partition=${partition}, and SOURCE names partition ${tag}: give one of them`)
    }
    return {
      ...source,
      ...(partition === undefined ? {} : { tag: String(partition) }),
      ...(overlays === 'none' ? { overlays } : {}),
    }
  },
  locked: (source) => withFile(source.path, (file) => lockedPartitions(readSif(file), source)),
  mayHoldArchives: ({ path, tag }) => tag === undefined && withFile(path, (file) => isOciSif(readSif(file))),
  find: (source, wanted) => withFile(source.path, (file) => findLayers(readSif(file), source, wanted)),
  list: ({ path }) => withFile(path, listSif),
}

function findLayers(sif: Sif, source: NamedSource, wanted: FindRequest): FoundFiles {
  const { path, tag, overlays } = source
  if (tag !== undefined) return oneImage(path, fileOf(path, sif, objectById(sif, Number(tag))), wanted)
  if (isOciSif(sif)) return ociLayers(sif, path, wanted)
  const chosen = choosePartitions(sif, overlays !== 'none')
  const remarks = [...chosen.leftOut, ...machineRemarks(sif, chosen.base)]
  const tops = chosen.overlays.filter((one) => {
    if (isImage(sif.source, one, wanted)) return true
    remarks.push(`${objectTitle(one)} is left out: it holds no image that can be read`)
    return false
  })
  const base = fileOf(path, sif, chosen.base)
  if (tops.length === 0) return { ...oneImage(path, base, wanted), remarks: remarks.map(about(path)) }
  if (wanted.rootHash !== undefined) {
    const wrong = `${wanted.name} has overlay partitions: leave them out with -o overlays=none`
    throw new FsError('EINVAL', `--root-hash is for one image, and ${wrong}`)
  }
  return {
    layers: [base, ...tops.map((one) => fileOf(path, sif, one))],
    plain: false,
    expectsRootHashes: false,
    imagePaths: [path],
    remarks: remarks.map(about(path)),
  }
}

function lockedPartitions(sif: Sif, { path, tag, overlays }: NamedSource): readonly ImageFile[] {
  if (tag === undefined && isOciSif(sif)) return []
  const chosen =
    tag === undefined
      ? choosePartitions(sif, overlays !== 'none')
      : { base: objectById(sif, Number(tag)), overlays: [] }
  return [chosen.base, ...chosen.overlays]
    .map((object) => fileOf(path, sif, object))
    .filter(({ encryption }) => encryption !== undefined)
}

function oneImage(path: PathText, file: ImageFile, { rootHash }: FindRequest): FoundFiles {
  const layer = { ...file, ...omitUndefined({ rootHash }) }
  return { layers: [layer], plain: true, expectsRootHashes: false, imagePaths: [path] }
}

/** The label is a SOURCE that leads to the same object. */
function fileOf(path: PathText, sif: Sif, object: SifObject): ImageFile {
  const { id, offset, size: length } = object
  const encryption = encryptionOf(sif, object)
  return {
    ...{ label: `${path}:${id}`, path, offset, length, digests: signedDigestsOf(sif, object) },
    ...omitUndefined({ encryption }),
  }
}

function about(path: PathText): (remark: string) => string {
  return (remark) => `${path}: ${remark}`
}

/** Images are looked at on other machines than theirs, so it is no error. */
function machineRemarks({ header }: Sif, { extra }: SifObject): readonly string[] {
  const architecture = extra.of === 'partition' ? extra.architecture : header.architecture
  const own = hostPlatform().architecture
  if (['unknown', own, SIBLINGS[own]].includes(architecture)) return []
  return [`the image is for ${architecture}, and this machine is ${own}: its programs may not run`]
}

/** Whether an object begins as an image does, or as an encrypted one. @throws FsError EIO where it cannot be read */
function isImage(file: ByteSource, object: SifObject, { mediaTypes }: FindRequest): boolean {
  const { offset, size, extra } = object
  const head = new Uint8Array(Math.min(HEAD_BYTES, size))
  if (head.length > 0) file.readInto(offset, head)
  if (extra.of === 'partition' && extra.fileSystem === FILE_SYSTEM.luks) return isHeaderMagic(head, 'primary')
  return mediaTypes.kindOfContent === undefined || mediaTypes.kindOfContent(head) !== undefined
}

/** What cannot be read is no SIF here: a bare file says why. */
function beginsLikeSif(path: PathText): boolean {
  const head = Buffer.alloc(MAGIC_END)
  try {
    const fd = openSync(systemPath(path), constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      return readSync(fd, head, 0, head.length, 0) === head.length && looksLikeSif(head)
    } finally {
      closeSync(fd)
    }
  } catch {
    return false
  }
}

function withFile<T>(path: PathText, work: (file: ByteSource) => T): T {
  let fd: number
  try {
    fd = openSync(systemPath(path), 'r')
  } catch (error) {
    const code = errnoCodeOf(error)
    throw new FsError(code, `${path}: cannot be opened: ${code}`, { cause: error })
  }
  try {
    return work(new FileSource(fd, path))
  } finally {
    closeSync(fd)
  }
}
