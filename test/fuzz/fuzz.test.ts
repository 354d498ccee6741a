import { describe, expect, test } from 'vitest'
import { CODEC_TARGETS } from './codecs.ts'
import { fuzz } from './driver.ts'
import { ENCRYPTION_TARGETS } from './encryption.ts'
import { EXT4_TARGETS } from './ext4.ts'
import { IMAGE_START_TARGET } from './image-start.ts'
import { OCI_TARGETS } from './oci.ts'
import { PUZZLEFS_TARGETS } from './puzzlefs.ts'
import { SIF_TARGETS } from './sif.ts'
import { SQUASHFS_TARGETS } from './squashfs.ts'
import { TABLE_TARGETS } from './tables.ts'
import { TAR_TARGET } from './tar.ts'
import { TAR_INDEX_TARGETS } from './tar-index.ts'
import { VERITY_TARGETS } from './verity.ts'

const RUNS = Number(process.env['ATOMFS_FUZZ'] ?? 400)
const SEED = Number(process.env['ATOMFS_FUZZ_SEED'] ?? 1)
const TARGETS = [
  ...CODEC_TARGETS,
  ...TABLE_TARGETS,
  ...SQUASHFS_TARGETS,
  ...VERITY_TARGETS,
  ...EXT4_TARGETS,
  ...SIF_TARGETS,
  ...ENCRYPTION_TARGETS,
  ...OCI_TARGETS,
  ...PUZZLEFS_TARGETS,
  IMAGE_START_TARGET,
  TAR_TARGET,
  ...TAR_INDEX_TARGETS,
]

/** Milliseconds: some for the start, and some for each run on a busy machine. */
const TIMEOUT = 30_000 + RUNS * 5

describe(`${RUNS} inputs, seed ${SEED}`, () => {
  test.each(TARGETS)(
    'the fuzz target $name refuses wrong input without any other failure',
    async (target) => {
      const report = await fuzz(target, RUNS, SEED)
      expect(report.refused).toBeGreaterThan(0)
      if (RUNS > 10_000) console.log(JSON.stringify(report))
    },
    TIMEOUT,
  )
})
