import { checkRootHash, parseDigest, parsePlatform, rootHashOf } from '../../src/oci/index.ts'
import {
  ConfigSchema,
  IndexSchema,
  LayoutSchema,
  ManifestSchema,
  parseDocument,
} from '../../src/oci/schema.ts'
import type { FuzzTarget } from './driver.ts'

const HEX = '0123456789abcdef'.repeat(4)
const DESCRIPTOR = {
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  digest: `sha256:${HEX}`,
  size: 12,
}
const LAYER = {
  ...DESCRIPTOR,
  annotations: { 'org.example': 'x' },
  platform: { os: 'linux', architecture: 'amd64' },
}
const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8')

const document = (name: string, schema: Parameters<typeof parseDocument>[0], value: unknown): FuzzTarget => ({
  name: `OCI ${name}`,
  samples: [json(value)],
  run: (bytes) => void parseDocument(schema, bytes, 'fuzz'),
})

/** The documents of an image layout, and the texts in them. */
export const OCI_TARGETS: readonly FuzzTarget[] = [
  document('layout', LayoutSchema, { imageLayoutVersion: '1.0.0' }),
  document('index', IndexSchema, { schemaVersion: 2, manifests: [LAYER, DESCRIPTOR] }),
  document('manifest', ManifestSchema, { schemaVersion: 2, config: DESCRIPTOR, layers: [LAYER, DESCRIPTOR] }),
  document('config', ConfigSchema, { os: 'linux', architecture: 'arm64', variant: 'v8' }),
  {
    name: 'OCI digest',
    samples: [Buffer.from(DESCRIPTOR.digest)],
    run: (bytes) => void parseDigest(textOf(bytes), 'fuzz'),
    codes: ['EIO', 'EOPNOTSUPP'],
  },
  {
    name: 'OCI platform',
    samples: [Buffer.from('linux/arm/v7')],
    run: (bytes) => void parsePlatform(textOf(bytes)),
    codes: ['EINVAL'],
  },
  {
    name: 'OCI root hash',
    samples: [Buffer.from(HEX)],
    run: (bytes) =>
      void rootHashOf(
        { 'io.stackeroci.stacker.atomfs_root_hash': checkRootHash(textOf(bytes), 'fuzz') },
        'fuzz',
      ),
  },
]
