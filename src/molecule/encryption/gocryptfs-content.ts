import {
  type BlockReader,
  type ByteSource,
  DT_REG,
  ExtentReader,
  FsError,
  type Layer,
  type Ref,
} from '../../base/index.ts'
import type { FilePiece } from '../../crypt/index.ts'
import { CONFIG_LIMIT, type GocryptfsContent } from '../../crypt/unlock.ts'
import { probeKind } from '../../kinds/kinds.ts'
import { PiecesSource } from '../../transforms/index.ts'

/** Names in the outer image, as Apptainer writes them: in clear. */
const CONFIG = 'gocryptfs.conf'
const CONTENT = 'squashfs-'
/** The outer image has two names. */
const MOST_NAMES = 64
/** The outer image stores data as they are, one behind the other: a file is one piece, unless it has holes. */
const MOST_PIECES = 4096

/**
 * Finds the encrypted image in the one that Apptainer puts around it.
 * @param image the outer image, which is not encrypted
 * @throws FsError EIO, EINVAL, EOPNOTSUPP where it is not as Apptainer makes it
 */
export function gocryptfsContent(image: ByteSource): GocryptfsContent {
  const kind = probeKind(image)
  const { label } = image
  const { detail } = kind.describe(image)
  const session = kind.open({ details: [detail] })
  const part = { source: image, sourceId: 0, label, detail }
  const layer = session.openLayer(part)
  const [config, content] = findNames(layer)
  const pieces = piecesOf(layer, content)
  return {
    config: readConfig(layer, session.openBlocks(part), config),
    pieces,
    file: new PiecesSource(image, pieces),
  }
}

function findNames(layer: Layer): [config: Ref, content: Ref] {
  let config: Ref | undefined
  let content: Ref | undefined
  const cursor = layer.openDirectory(layer.root, 0)
  for (let i = 0; i < MOST_NAMES; i++) {
    const entry = cursor.next()
    if (entry === undefined) break
    if (entry.type !== DT_REG) continue
    if (entry.name === CONFIG) config ??= entry.ref
    else if (entry.name.startsWith(CONTENT)) content ??= entry.ref
  }
  if (config !== undefined && content !== undefined) return [config, content]
  const missing = config === undefined ? CONFIG : `${CONTENT}…`
  throw new FsError('EIO', `${layer.label}: a gocryptfs partition without a file ${missing}`)
}

function readConfig(layer: Layer, blocks: BlockReader, ref: Ref): Uint8Array {
  const { size } = layer.stat(ref)
  if (size > CONFIG_LIMIT) throw new FsError('EIO', `${layer.label}: ${CONFIG} has ${size} bytes`)
  const bytes = new Uint8Array(size)
  let done = 0
  const noHostFile = (): number => 0
  new ExtentReader(blocks, noHostFile, { cacheSize: 0 }).read(
    (sink) => layer.extents(ref, 0, size, sink),
    (length) => {
      done += length
      return bytes.subarray(done - length, done)
    },
  )
  return bytes
}

/** @throws FsError EOPNOTSUPP for a file that is compressed */
function piecesOf(layer: Layer, ref: Ref): readonly FilePiece[] {
  const pieces: FilePiece[] = []
  const add = (piece: FilePiece): void => {
    const last = pieces.at(-1)
    if (last !== undefined && continues(last, piece)) {
      pieces[pieces.length - 1] = { ...last, length: last.length + piece.length }
      return
    }
    if (pieces.length === MOST_PIECES) throw notStored(layer)
    pieces.push(piece)
  }
  layer.extents(ref, 0, layer.stat(ref).size, {
    hole: (length) => add({ length }),
    file: () => {
      throw notStored(layer)
    },
    block: ({ position, storedSize }, from, length) => {
      // A small file shares a block with others. What is compressed is shorter; if it were not, tags would say so.
      if (from + length > storedSize) throw notStored(layer)
      add({ position: position + from, length })
    },
  })
  return pieces
}

function continues(last: FilePiece, next: FilePiece): boolean {
  if (last.position === undefined || next.position === undefined) return last.position === next.position
  return last.position + last.length === next.position
}

function notStored({ label }: Layer): FsError {
  return new FsError(
    'EOPNOTSUPP',
    `${label}: gocryptfs: the encrypted image is not stored in one go, as Apptainer does it`,
  )
}
