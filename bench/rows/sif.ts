import type { Inputs } from '../inputs/index.ts'
import { OURS_SQUASHFS } from '../readers/index.ts'
import type { Scenario } from './scenario.ts'
import { measureFind, measureNothing, measureTar, TAR_ROWS } from './whole-tree.ts'

/** A SIF of 2 GB, and its partition as a file of its own. */
export const LARGE_SIF = 'sif 2 GB'
/** A SIF whose tree lies in its primary partition and in an ext3 overlay. */
export const OVERLAY_SIF = 'sif overlay'

export function sif(): Scenario[] {
  const overlay = {
    input: OVERLAY_SIF,
    readers: ['ours', 'apptainer-stack'],
    main: false,
    subject: (inputs: Inputs) => inputs.overlaySif(),
  }
  return [
    {
      name: 'mount',
      input: LARGE_SIF,
      rows: ['mount'],
      readers: ['ours', OURS_SQUASHFS],
      main: false,
      repeat: 2,
      subject: (inputs: Inputs) => inputs.largeSif(),
      measure: measureNothing,
    },
    { ...overlay, name: 'mount', rows: ['mount'], measure: measureNothing, repeat: 2 },
    { ...overlay, name: 'find', rows: ['find-cold', 'find-warm'], measure: measureFind },
    { ...overlay, name: 'tar', rows: TAR_ROWS, measure: measureTar },
  ]
}
