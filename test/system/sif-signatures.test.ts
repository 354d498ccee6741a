import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeSif, SIF_TYPE, type SifPart, type SifShape } from '../library/images/sif.ts'
import { envelope, metadataOf, signaturePart } from '../library/images/sif-signatures.ts'
import { makeTempDir, mksquashfs, needs, removeTempDir, run, titled } from '../library/index.ts'
import { inScene } from '../library/scenes/life.ts'

/** Signatures in SIF files: what they cover, and who made them. Signers are node:crypto and gpg. */

const need = needs('root', 'fuse', 'mksquashfs')
const pgp = needs('gpg', 'gpgv')

let temp = ''
let file = ''
let image: Buffer
beforeAll(async () => {
  temp = makeTempDir()
  if (!need.ok) return
  mkdirSync(join(temp, 'tree'))
  writeFileSync(join(temp, 'tree/name'), 'content\n')
  file = join(temp, 'x.sif')
  image = readFileSync(await mksquashfs(join(temp, 'tree'), join(temp, 'image')))
})
afterAll(() => removeTempDir(temp))

const parts = (): readonly SifPart[] => [
  { type: SIF_TYPE.definition, data: Buffer.from('bootstrap: scratch\n') },
  { type: SIF_TYPE.partition, data: image, partition: [1, 2, '02'], name: 'root' },
]
const shape = (more: readonly SifPart[] = []): SifShape => ({
  parts: [...parts(), ...more],
  architecture: '02',
})

function pem(name: string, key: KeyObject): string {
  const path = join(temp, name)
  writeFileSync(path, key.export({ type: 'spki', format: 'pem' }))
  return path
}

/** Writes a SIF with signatures, and verifies it. */
async function verified(bytes: Buffer, ...words: string[]) {
  writeFileSync(file, bytes)
  let result = { status: -1, stdout: '', stderr: '' }
  await inScene(async ({ atomfs }) => {
    result = (await atomfs('verify', '--json', ...words, file)) as typeof result
  })
  const report = JSON.parse(result.stdout === '' ? '{}' : result.stdout)
  return { ...result, report }
}

describe.skipIf(!need.ok)(titled('signatures of a SIF file', need), () => {
  const ed = generateKeyPairSync('ed25519')
  const other = generateKeyPairSync('ed25519')

  test.each([
    ['ed25519', ed, null],
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 }), 'sha256'],
    ['ECDSA', generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'sha256'],
  ] as const)(
    'an envelope signed by %s is checked with its key, and not without',
    async (_, { publicKey, privateKey }, hash) => {
      const signed = makeSif(shape([signaturePart(envelope(metadataOf(shape()), privateKey, hash))]))
      const key = pem('key.pem', publicKey)
      const good = await verified(signed, '--key', key)
      expect(good).toMatchObject({ status: 0, stderr: '' })
      expect(good.report.layers).toMatchObject([
        { state: 'verified', bytes: 19 },
        { state: 'verified', bytes: image.length },
      ])
      expect(good.report.signatures).toMatchObject([
        { id: 3, form: 'dsse', state: 'verified', objects: [1, 2] },
      ])
      expect(await verified(signed)).toMatchObject({
        status: 3,
        report: { layers: [{ digestsMatch: true }, { digestsMatch: true }] },
      })
      const wrong = await verified(signed, '--key', pem('other.pem', other.publicKey))
      expect(wrong).toMatchObject({
        status: 1,
        report: { signatures: [{ state: 'failed', reason: 'no signature in it is of the given key' }] },
      })
      expect(await verified(signed, '--key', pem('other.pem', other.publicKey), '--key', key)).toMatchObject({
        status: 0,
      })
    },
  )

  test('every byte that is covered counts, and those that are not do not', async () => {
    const key = pem('key.pem', ed.publicKey)
    const signed = makeSif(shape([signaturePart(envelope(metadataOf(shape()), ed.privateKey))]))
    const at = signed.indexOf(image)
    const record = 4096 + 585
    const flips: readonly (readonly [what: string, at: number, status: number])[] = [
      ['the launch script', 0, 1],
      ['the id', 50, 1],
      ['the time of the file', 64, 0],
      ['data', at + 200, 1],
      ['the link of a record', record + 14, 1],
      ['the name of a record', record + 73, 1],
      ['the use of a partition', record + 205, 1],
      ['the time of a change', record + 49, 0],
    ]
    for (const [what, position, status] of flips) {
      const changed = Buffer.from(signed)
      changed[position]! ^= 1
      const { status: found, report } = await verified(changed, '--key', key)
      expect(found, what).toBe(status)
      if (position > at)
        expect(report.layers[1], what).toMatchObject({
          state: 'failed',
          message: expect.stringContaining('its data have sha256'),
        })
    }
  })

  test('an object that no signature covers, one that is missing, and no signature at all are failures', async () => {
    const key = pem('key.pem', ed.publicKey)
    const signature = signaturePart(envelope(metadataOf(shape()), ed.privateKey))
    const more = await verified(
      makeSif(shape([signature, { type: SIF_TYPE.json, data: Buffer.from('{}') }])),
      '--key',
      key,
    )
    expect(more).toMatchObject({
      status: 1,
      report: { layers: [{}, {}, { state: 'unverified', message: 'no signature covers it' }] },
    })
    const fewer = await verified(
      makeSif({ parts: [parts()[0]!, signature], architecture: '02' }),
      '--key',
      key,
    )
    expect(fewer).toMatchObject({
      status: 1,
      report: {
        signatures: [{ reason: expect.stringMatching(/object 2 was signed, and is not in the file$/) }],
      },
    })
    expect(await verified(makeSif(shape()), '--key', key)).toMatchObject({
      status: 1,
      report: { signatures: [] },
    })
    const strange = signaturePart(Buffer.from('-----BEGIN SIGNED MESSAGE-----'))
    expect(await verified(makeSif(shape([signature, strange])), '--key', key)).toMatchObject({
      status: 1,
      report: { signatures: [{ state: 'verified' }, { state: 'failed' }] },
    })
    const noKey = await verified(makeSif(shape([signature])), '--key', file)
    expect(noKey).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/: is no public key in PEM: .*\n$/),
    })
  })

  test('verify=eager compares what is mounted with the digests in signatures, before the mount', async () => {
    const signed = makeSif(shape([signaturePart(envelope(metadataOf(shape(), 'sha384'), ed.privateKey))]))
    const changed = Buffer.from(signed)
    changed[signed.indexOf(image) + image.length - 1]! ^= 1
    await inScene(async ({ target, atomfs }) => {
      writeFileSync(file, changed)
      expect(await atomfs('mount', '--verify=eager', file, target)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(
          /^Error: .*x\.sif:2: its bytes have digest [0-9a-f]{96}, expected sha384:.*: it is damaged\n$/,
        ),
      })
      writeFileSync(file, signed)
      expect(await atomfs('mount', '--verify=eager', file, target)).toMatchObject({ status: 0, stderr: '' })
      expect(readFileSync(join(target, 'name'), 'utf8')).toBe('content\n')
    })
  })
})

describe.skipIf(!need.ok || !pgp.ok)(titled('OpenPGP signatures of a SIF file', pgp), () => {
  test('a clear-signed message is checked by gpgv with the keyring of its signer, and a legacy one on request', async () => {
    const home = join(temp, 'gpg')
    mkdirSync(home, { mode: 0o700 })
    const gpg = (...words: string[]) =>
      run('gpg', [
        '--homedir',
        home,
        '--batch',
        '--yes',
        '--pinentry-mode',
        'loopback',
        '--passphrase',
        '',
        ...words,
      ])
    try {
      await gpg('--quick-generate-key', 'someone <someone@example.org>', 'ed25519', 'sign', 'never')
      await gpg('--quick-generate-key', 'other <other@example.org>', 'ed25519', 'sign', 'never')
      const keyring = join(temp, 'keyring')
      const strangers = join(temp, 'strangers')
      await gpg('-o', keyring, '--export', 'someone@example.org')
      await gpg('-o', strangers, '--export', 'other@example.org')
      const { stdout } = await gpg('--with-colons', '--list-keys', 'someone@example.org')
      const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(stdout)![1]!
      const clearSigned = async (text: string): Promise<Buffer> => {
        writeFileSync(join(temp, 'text'), text)
        await gpg(
          '-u',
          'someone@example.org',
          '-o',
          join(temp, 'text.asc'),
          '--clear-sign',
          join(temp, 'text'),
        )
        return readFileSync(join(temp, 'text.asc'))
      }
      const message = await clearSigned(`${JSON.stringify(metadataOf(shape()))}\n`)
      const signed = makeSif(shape([signaturePart(message, fingerprint)]))
      expect(await verified(signed, '--keyring', keyring)).toMatchObject({
        status: 0,
        report: { signatures: [{ form: 'pgp', state: 'verified', signer: fingerprint }] },
      })
      expect(await verified(signed)).toMatchObject({ status: 3 })
      expect(await verified(signed, '--keyring', strangers)).toMatchObject({
        status: 1,
        report: {
          signatures: [{ reason: expect.stringMatching(/^its key [0-9A-F]+ is not in the keyring$/) }],
        },
      })
      expect(
        await verified(makeSif(shape([signaturePart(message, 'ab'.repeat(20))])), '--keyring', keyring),
      ).toMatchObject({
        status: 1,
        report: {
          signatures: [{ reason: `signed by ${fingerprint}, and the descriptor says ${'AB'.repeat(20)}` }],
        },
      })
      const twice = makeSif(shape([signaturePart(Buffer.concat([message, message]), fingerprint)]))
      expect(await verified(twice, '--keyring', keyring)).toMatchObject({ status: 1 })
      const forged = Buffer.from(message.toString().replace('"version":1', '"version": 1'))
      expect(
        await verified(makeSif(shape([signaturePart(forged, fingerprint)])), '--keyring', keyring),
      ).toMatchObject({
        status: 1,
        report: { signatures: [{ reason: 'gpgv does not accept it (BADSIG)' }] },
      })
      const { createHash } = await import('node:crypto')
      const data = createHash('sha256')
      for (const part of parts()) data.update(part.data!)
      const legacy = makeSif(
        shape([signaturePart(await clearSigned(`SIFHASH:\n${data.digest('hex')}\n`), fingerprint)]),
      )
      expect(await verified(legacy, '--keyring', keyring)).toMatchObject({
        status: 1,
        report: { signatures: [{ state: 'ignored' }] },
      })
      expect(await verified(legacy, '--keyring', keyring, '--legacy')).toMatchObject({ status: 0 })
    } finally {
      await run('gpgconf', ['--homedir', home, '--kill', 'all'], { allowFailure: true })
    }
  })
})
