import { readdirSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type BlockReader,
  type ByteSource,
  blobList,
  type ImageKind,
  type KindSession,
} from '../../src/base/index.ts'
import { registerKind } from '../../src/kinds/kinds.ts'
import {
  inspectSource,
  measureUsage,
  openMolecule,
  parseSource,
  rehearsalSurroundings,
  resolveMolecule,
  verifySource,
} from '../../src/molecule/index.ts'
import { WindowSource } from '../../src/transforms/window.ts'
import { appendVerityData } from '../../src/verity/index.ts'
import { toyArchive } from '../kinds/toy-archive.ts'
import { TOY } from '../kinds/toy-kind.ts'
import { makeTempDir, removeTempDir } from '../library/index.ts'

/** Sources are closed by whoever asked for them: an image kind for this test alone keeps what it was given. */

let given: ByteSource[] = []
let timesGivenBack = 0

/** Before the archive: no other kind takes such a file. */
const SIGN = 'KEEPER'.padEnd(512)

/** @returns the archive behind the sign */
function keep(source: ByteSource): ByteSource {
  given.push(source)
  return new WindowSource(source, SIGN.length)
}

const KEEPER: ImageKind = {
  ...TOY,
  name: 'keeper',
  probe: (head) => Buffer.from(head.subarray(0, SIGN.length)).toString('latin1') === SIGN,
  describe(source) {
    const facts = TOY.describe(keep(source))
    return { ...facts, bytesUsed: facts.bytesUsed + SIGN.length }
  },
  blobs: () => blobList([]),
  summarize: (source) => ({ ...TOY.summarize(keep(source)), kind: 'keeper' }),
  open: (options): KindSession => {
    const session = TOY.open(options)
    return {
      openLayer: (image) => {
        const layer = session.openLayer({ ...image, source: keep(image.source) })
        const giveBack = (): void => {
          timesGivenBack += 1
        }
        return Object.assign(layer, { giveBack })
      },
      openBlocks: (image): BlockReader => session.openBlocks({ ...image, source: keep(image.source) }),
    }
  },
}

const isClosed = (source: ByteSource): boolean => {
  try {
    source.readInto(0, new Uint8Array(1))
    return false
  } catch (error) {
    return (error as Error).message.includes('read after it was closed')
  }
}

/** The files below the temporary folder that this process has open. */
function openDescriptors(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`)
      return path.startsWith(temp) ? [path] : []
    } catch {
      // The listing itself.
      return []
    }
  })
}

let temp = ''
let image = ''
let rootHash = ''
beforeAll(() => {
  registerKind(KEEPER)
  temp = makeTempDir()
  image = join(temp, 'image')
  writeFileSync(image, Buffer.concat([Buffer.from(SIGN), toyArchive({ file: Buffer.alloc(100_000, 'x') })]))
  rootHash = appendVerityData(image).rootHash
})
afterAll(() => removeTempDir(temp))
beforeEach(() => {
  given = []
})

const resolve = (verify: 'auto' | 'lazy') =>
  resolveMolecule({
    source: parseSource(image),
    name: image,
    allowMissingVerity: false,
    rootHash,
    verify,
    options: {},
  })

describe('the sources of an image', () => {
  test('inspect closes what it has read', () => {
    expect(inspectSource(image).layers).toMatchObject([{ kind: 'keeper' }])
    expect(given.length).toBeGreaterThan(1)
    expect(given.map(isClosed)).toEqual(given.map(() => true))
  })

  test('counting closes what it has read', async () => {
    const before = openDescriptors()
    const { usage } = await measureUsage({ source: image, top: 1 })
    expect(usage).toMatchObject({
      shows: { entries: 1, bytes: 100_000 },
      files: [{ path: '/file', shown: true }],
    })
    expect(given.length).toBeGreaterThan(1)
    expect(given.map(isClosed)).toEqual(given.map(() => true))
    expect(openDescriptors()).toEqual(before)
  })

  test('verify closes what it has read, also where the root hash is another', async () => {
    const other = `${rootHash.startsWith('0') ? '1' : '0'}${rootHash.slice(1)}`
    expect((await verifySource({ source: image, rootHash: other })).layers).toMatchObject([
      { state: 'failed' },
    ])
    expect(given.length).toBeGreaterThan(0)
    expect(given.map(isClosed)).toEqual(given.map(() => true))
  })

  test('a mount closes what it looked at before, and what it serves when it lets the layers go', () => {
    const spec = resolve('auto')
    expect(given.map(isClosed)).toEqual(given.map(() => true))
    given = []
    const { store, closeLayers } = openMolecule(spec)
    const played = openMolecule(
      spec,
      rehearsalSurroundings(() => undefined),
    )
    store.readBlock(
      { source: 0, position: 0, storedSize: 100, kindBits: 0, maxSize: 65_536 } as Parameters<
        typeof store.readBlock
      >[0],
      new Uint8Array(65_536),
    )
    expect(given.map(isClosed)).toEqual([false, false, false])
    closeLayers()
    expect(given.map(isClosed)).toEqual([true, false, true])
    played.closeLayers()
    expect(given.map(isClosed)).toEqual([true, true, true])
  })

  test('layers give back what they can decode again when their mount does', () => {
    const { giveBack, closeLayers } = openMolecule(resolve('auto'))
    timesGivenBack = 0
    giveBack()
    expect(timesGivenBack).toBe(1)
    closeLayers()
  })
})
