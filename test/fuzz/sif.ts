import { choosePartitions, listSif, readSif, signedDigestsOf } from '../../sif/index.ts'
import { parseMessage } from '../../sif/signatures/message.ts'
import { memorySource } from '../ext4/support/describe.ts'
import { makeSif, SIF_TYPE } from '../library/images/sif.ts'
import type { FuzzTarget } from './driver.ts'

const HEX = '0123456789abcdef'.repeat(4)
const METADATA = JSON.stringify({
  version: 1,
  header: { digest: `sha256:${HEX}` },
  objects: [{ relativeId: 0, descriptorDigest: `sha256:${HEX}`, objectDigest: `sha256:${HEX}` }],
})
const ENVELOPE = JSON.stringify({
  payloadType: 'application/vnd.sylabs.sif-metadata+json',
  payload: Buffer.from(METADATA).toString('base64'),
  signatures: [{ keyid: 'x', sig: 'AAAA' }],
})
const CLEAR_SIGNED = `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${METADATA}\n-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n`

const SIF = makeSif({
  total: 4,
  tableOffset: 128,
  parts: [
    { type: SIF_TYPE.definition, data: Buffer.from('bootstrap: docker\n') },
    { type: SIF_TYPE.partition, data: Buffer.from('hsqs'), partition: [1, 2, '02'] },
    {
      type: SIF_TYPE.signature,
      data: Buffer.from(ENVELOPE),
      group: 0,
      link: 1,
      linksGroup: true,
      extra: Buffer.of(1),
    },
  ],
})

/** A SIF as a whole, and the messages of its signatures. */
export const SIF_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'SIF',
    samples: [SIF],
    run: (input) => {
      const source = memorySource(Buffer.from(input))
      const sif = readSif(source)
      listSif(source)
      if (sif.objects.length > 4) throw new Error('more objects than the table has records')
      const { base } = choosePartitions(sif, true)
      signedDigestsOf(sif, base)
    },
    codes: ['EIO', 'EINVAL', 'EOPNOTSUPP'],
  },
  {
    name: 'SIF signature',
    samples: [Buffer.from(ENVELOPE), Buffer.from(CLEAR_SIGNED)],
    run: (input) => void parseMessage(Buffer.from(input), 'signature'),
  },
]
