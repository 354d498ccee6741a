import { describe, expect, test } from 'vitest'
import { choosePartitions, encryptionOf, listSif, objectById, readSif, type Sif } from '../../sif/index.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { makeSif, SIF_TYPE, type SifPart, type SifShape } from '../library/images/sif.ts'

const open = (shape: SifShape): Sif => readSif(memorySource(makeSif(shape), 'x.sif'))
const partition = (fileSystem: number, part: number, more: Partial<SifPart> = {}): SifPart => ({
  type: SIF_TYPE.partition,
  data: Buffer.alloc(5000),
  partition: [fileSystem, part, '02'],
  ...more,
})
const PRIMARY = partition(1, 2)
const choose = (parts: readonly SifPart[]) => choosePartitions(open({ parts }), true)
const ids = (parts: readonly SifPart[]) => {
  const { base, overlays } = choose(parts)
  return [base.id, ...overlays.map(({ id }) => id)]
}

describe('the table of objects', () => {
  test('header and objects are read as they were written, deleted ones are passed over', () => {
    const sif = open({
      launch: '#!/usr/bin/env run-singularity\n',
      architecture: '04',
      parts: [
        { type: SIF_TYPE.definition, data: Buffer.from('x'), name: '.' },
        { type: 0, used: false, group: 0 },
        { ...PRIMARY, name: 'a\0b' },
        {
          type: SIF_TYPE.signature,
          group: 0,
          link: 1,
          linksGroup: true,
          extra: Buffer.from('01000000ff', 'hex'),
        },
        { type: 0x4008, link: 3, extra: Buffer.from('0200000000020000', 'hex') },
      ],
    })
    expect(sif.header).toMatchObject({
      launchScript: '#!/usr/bin/env run-singularity',
      architecture: 'arm64',
      id: '01234567-89ab-cdef-0123-456789abcdef',
      created: 1_700_000_000,
      free: 44,
      total: 48,
    })
    // The zero time of Go.
    expect(sif.header).not.toHaveProperty('modified')
    expect(sif.objects.map(({ id, name, group, link }) => ({ id, name, group, link }))).toEqual([
      { id: 1, name: '', group: 1, link: undefined },
      { id: 3, name: 'a\0b', group: 1, link: undefined },
      { id: 4, name: '', group: undefined, link: { group: 1 } },
      { id: 5, name: '', group: 1, link: { object: 3 } },
    ])
    expect(listSif(sif.source).objects.map(({ details }) => details)).toEqual([
      {},
      { fileSystem: 'Squashfs', part: '*System', architecture: 'amd64' },
      { hash: 'SHA-256', fingerprint: `ff${'00'.repeat(19)}` },
      { format: 'PEM', message: 'RSA-OAEP' },
    ])
  })

  test.each([
    ['another version', { version: '00' }, 'SIF version "00", expected "01"'],
    ['more records than are read', { total: 65_537 }, '65537 records of objects, at most 65536'],
    [
      'a table behind the end',
      { total: 49 },
      `ends at byte ${4096 + 49 * 585}, and the file at ${4096 + 48 * 585}`,
    ],
    ['a table before the start', { tableOffset: -1 }, 'the table of objects ends at byte'],
  ])('a header with %s is refused in one line with both numbers', (_, wrong: Partial<SifShape>, message) => {
    const bytes = makeSif({ parts: [] })
    if (wrong.version !== undefined) bytes.write(wrong.version, 42)
    if (wrong.total !== undefined) bytes.writeBigInt64LE(BigInt(wrong.total), 88)
    if (wrong.tableOffset !== undefined) bytes.writeBigInt64LE(BigInt(wrong.tableOffset), 96)
    expect(() => readSif(memorySource(bytes, 'x.sif'))).toThrow(message)
    expect(() => readSif(memorySource(bytes.subarray(0, 100), 'x.sif'))).toThrow(/100 bytes.* header of 128/)
  })

  test('a file that was cut off is listed, and says which object and both sizes', () => {
    const whole = makeSif({ parts: [PRIMARY] })
    const source = memorySource(whole.subarray(0, -1), 'x.sif')
    const { objects, remarks } = listSif(source)
    expect(objects).toHaveLength(1)
    expect(remarks).toEqual([
      `object 1 (Squashfs partition) ends at byte ${whole.length}, and the file at ${whole.length - 1}: the file is cut off, copy it again`,
    ])
    expect(() => choosePartitions(readSif(source), true)).toThrow(remarks[0])
  })

  test.each([-1n, -(2n ** 63n), 2n ** 62n])('an object at byte %d is listed, and not read', (offset) => {
    const sif = open({ parts: [{ ...PRIMARY, offset }] })
    expect(listSif(sif.source).remarks).toHaveLength(1)
    expect(() => choosePartitions(sif, true)).toThrow(/object 1 .* (which no file has|cut off)/)
  })
})

describe('what a mount shows', () => {
  test('overlay partitions of the group lie on the primary one, in the order of their records', () => {
    const overlay = partition(2, 4)
    expect(ids([overlay, PRIMARY, partition(1, 3), overlay, partition(1, 1)])).toEqual([2, 1, 4])
    const { overlays, leftOut } = choose([
      PRIMARY,
      partition(2, 4, { group: 2 }),
      partition(3, 4),
      partition(1, 4),
      partition(5, 4),
    ])
    expect(overlays.map(({ id }) => id)).toEqual([4, 5])
    expect(leftOut).toEqual([
      'object 2 (Ext3 partition) is left out: it is of group 2, the primary partition of group 1',
      'object 3 (Archive partition) is left out: it is an archive, which holds no file system',
    ])
    expect(choosePartitions(open({ parts: [PRIMARY, overlay] }), false).overlays).toEqual([])
  })

  test('nothing but the header and the table is read of a file, however large it is', () => {
    const bytes = makeSif({ parts: [PRIMARY, partition(2, 4), partition(1, 3)] })
    let read = 0
    const whole = memorySource(bytes, 'x.sif')
    const counted = {
      size: whole.size,
      label: whole.label,
      readInto: (position: number, target: Uint8Array) => {
        read += target.length
        whole.readInto(position, target)
      },
    }
    expect(choosePartitions(readSif(counted), true).overlays).toHaveLength(1)
    expect(read).toBe(128 + 48 * 585)
  })

  test('without a primary partition it is the only one, and of several none', () => {
    expect(ids([partition(1, 3)])).toEqual([1])
    expect(() => choose([])).toThrow('x.sif: a SIF without a partition')
    expect(() => choose([partition(1, 3), partition(2, 3)])).toThrow(
      'has no primary partition: say which with -o partition=ID; partitions in it: 1 (Data, Squashfs), 2 (Data, Ext3)',
    )
    expect(() => choose([PRIMARY, PRIMARY])).toThrow('has 2 primary partitions')
  })

  test('a partition is found by its number', () => {
    const sif = open({
      parts: [
        PRIMARY,
        partition(4, 3),
        { type: SIF_TYPE.json },
        partition(3, 3),
        PRIMARY,
        { ...PRIMARY, id: 5 },
      ],
    })
    expect(objectById(sif, 2).id).toBe(2)
    expect(() => objectById(sif, 3)).toThrow('object 3 (JSON.Generic) is no partition')
    expect(() => objectById(sif, 4)).toThrow(/object 4 .* is an archive/)
    expect(() => objectById(sif, 5)).toThrow('two objects have the number 5')
    expect(() => objectById(sif, 9)).toThrow('has no object 9; partitions in it: 1 (*System, Squashfs)')
  })
})

describe('an encrypted partition', () => {
  const message = (link: number, more: Partial<SifPart> = {}): SifPart => ({
    type: SIF_TYPE.crypto,
    data: Buffer.from(`for ${link}`),
    link,
    group: 0,
    extra: Buffer.from('0200000000020000', 'hex'),
    ...more,
  })
  const formOf = (fileSystem: number, ...others: readonly SifPart[]) => {
    const sif = open({ parts: [partition(fileSystem, 2), ...others] })
    return encryptionOf(sif, objectById(sif, 1))
  }

  test('says how it is encrypted, and has the first message for it with an RSA key', () => {
    expect(formOf(1, message(1))).toBeUndefined()
    expect(formOf(5)).toEqual({ form: 'luks2' })
    expect(formOf(6)).toEqual({ form: 'gocryptfs' })
    const other = message(1, { data: Buffer.from('second') })
    expect(formOf(5, message(7), message(1), other)).toEqual({ form: 'luks2', message: Buffer.from('for 1') })
    for (const [extra, unread] of [
      ['0100000000020000', 'OpenPGP, RSA-OAEP'],
      ['0200000000010000', 'PEM, Clear Signature'],
      ['0300000000030000', 'Unknown, Unknown'],
    ] as const) {
      const other = message(1, { extra: Buffer.from(extra, 'hex') })
      expect(formOf(5, other)).toEqual({ form: 'luks2', unread })
      expect(formOf(5, other, message(1))).toEqual({ form: 'luks2', message: Buffer.from('for 1') })
    }
    expect(formOf(5, message(1, { linksGroup: true }))).toEqual({ form: 'luks2' })
  })

  test('a message that does not lie in the file, or is none, is EIO', () => {
    expect(() => formOf(5, message(1, { offset: 9_999_999 }))).toThrow(/Cryptographic Message.*cut off/)
    expect(() => formOf(5, message(1, { data: Buffer.alloc(70_000) }))).toThrow(
      /has 70000 bytes, at most 65536/,
    )
  })
})
