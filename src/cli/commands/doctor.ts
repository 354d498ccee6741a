import { type DoctorReport, examine } from '../../daemon/client/doctor.ts'
import { type EncoderReport, listEncoders } from '../../make/index.ts'
import { type CodecReport, listCodecs } from '../../molecule/index.ts'
import { formatTable } from '../print/table.ts'

/** Runs `doctor`. @returns 0 if some way to mount works here */
export async function doctor(json: boolean): Promise<number> {
  const report = await examine()
  const codecs = listCodecs()
  const encoders = listEncoders()
  process.stdout.write(
    json
      ? `${JSON.stringify({ ...report, codecs, encoders }, undefined, 2)}\n`
      : formatDoctor(report, codecs, encoders),
  )
  return report.canMount ? 0 : 1
}

function formatDoctor(
  report: DoctorReport,
  codecs: readonly CodecReport[],
  encoders: readonly EncoderReport[],
): string {
  const checks = formatTable(
    ['CHECK', 'STATUS', 'DETAIL'],
    report.checks.map((check) => [check.name, check.status, check.detail]),
  )
  const table = (what: string, found: readonly (CodecReport | EncoderReport)[]): string =>
    formatTable(
      ['COMPRESSOR', what, 'LIBRARY', 'ALTERNATIVES'],
      found.map(({ name, tier, library, alternatives }) => [name, tier, library, alternatives.join(', ')]),
    )
  return `${checks}\n${table('DECODER', codecs)}\n${table('ENCODER', encoders)}\n${report.canMount ? 'Mounting works here.' : 'No way to mount works here.'}\n`
}
