import { type DoctorReport, examine } from '../../daemon/client/doctor.ts'
import { type CodecReport, listCodecs } from '../../molecule/index.ts'
import { formatTable } from '../print/table.ts'

/** Runs `doctor`. @returns 0 if some way to mount works here */
export async function doctor(json: boolean): Promise<number> {
  const report = await examine()
  const codecs = listCodecs()
  process.stdout.write(
    json ? `${JSON.stringify({ ...report, codecs }, undefined, 2)}\n` : formatDoctor(report, codecs),
  )
  return report.canMount ? 0 : 1
}

function formatDoctor(report: DoctorReport, codecs: readonly CodecReport[]): string {
  const checks = formatTable(
    ['CHECK', 'STATUS', 'DETAIL'],
    report.checks.map((check) => [check.name, check.status, check.detail]),
  )
  const decoders = formatTable(
    ['COMPRESSOR', 'DECODER', 'LIBRARY', 'ALTERNATIVES'],
    codecs.map((codec) => [codec.name, codec.tier, codec.library, codec.alternatives.join(', ')]),
  )
  return `${checks}\n${decoders}\n${report.canMount ? 'Mounting works here.' : 'No way to mount works here.'}\n`
}
