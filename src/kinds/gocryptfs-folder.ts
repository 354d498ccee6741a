import { closeSync, writeSync } from 'node:fs'
import {
  type Container,
  decodePath,
  FsError,
  type ImageFile,
  type PathText,
  UsageError,
} from '../base/index.ts'
import { type FolderSurvey, openFolderFile, surveyFolder } from '../crypt/folder/survey.ts'
import { encodeTree, type FolderNode } from '../crypt/folder/tree.ts'
import { createMemoryFile } from '../sys/files/descriptor.ts'
import { anchoredPath } from '../sys/files/working-directory.ts'
import { raiseOpenFiles } from '../sys/process/limits.ts'

const PREFIX = 'gocryptfs:'
/** As many files are open beside those of the program under any limit that it starts with. */
const FEW_FILES = 100

/**
 * A directory of gocryptfs with names in clear, as Apptainer makes it, decrypted. Its tree is read when the mount begins; its
 * files are opened then and stay open.
 */
export const GOCRYPTFS_FOLDER: Container = {
  name: 'gocryptfs',
  title: 'a gocryptfs directory',
  form: `${PREFIX}DIR`,
  prefix: PREFIX,
  onlyByPrefix: true,
  claims: (_path, stats) => stats.isDirectory(),
  read: (path, rest) =>
    rest === undefined ? { container: 'gocryptfs', path: anchoredPath(path) } : undefined,
  describe: ({ path }) => PREFIX + path,
  atOffset({ path }) {
    throw new UsageError(`offset= is for an image file, and ${path} is a directory`)
  },
  locked: ({ path }) => filesOf(path, surveyFolder(path)),
  find({ path }) {
    const survey = surveyFolder(path)
    // Each file stays open.
    if (survey.files.length > FEW_FILES) raiseOpenFiles()
    return {
      layers: [treeOf(path, survey.nodes)],
      data: filesOf(path, survey),
      plain: true,
      expectsRootHashes: false,
      imagePaths: [path],
    }
  },
}

function treeOf(path: PathText, nodes: readonly FolderNode[]): ImageFile {
  return { label: path, path, kind: 'gocryptfs-tree', open: () => inMemory(encodeTree(nodes, path)) }
}

function filesOf(path: PathText, { config, files }: FolderSurvey): readonly ImageFile[] {
  return files.map((names) => ({
    label: `${path}/${decodePath(Buffer.from(names.join('/'), 'latin1'))}`,
    path,
    kind: 'gocryptfs-file',
    open: () => openFolderFile(path, names),
    encryption: { form: 'gocryptfs', config },
  }))
}

/** @returns a descriptor; the caller closes it. @throws FsError ENOMEM, EMFILE */
function inMemory(bytes: Buffer): number {
  const fd = createMemoryFile('gocryptfs')
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, done)
    return fd
  } catch (error) {
    closeSync(fd)
    throw new FsError('ENOMEM', 'no room for the tree of a gocryptfs directory', { cause: error })
  }
}
